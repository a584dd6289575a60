"""Answering a request within its limits: slots, time, and threads that do the work."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image
from starlette.requests import Request

from conspecific.config.schema import LimitsConfig
from conspecific.evaluation.why import FINER
from conspecific.montage import ANSWERS, answer_sheet, square
from conspecific.serving.answers import SearchResult, search_result
from conspecific.serving.gallery import ServedGallery
from conspecific.serving.jpeg import jpeg
from conspecific.serving.refusal import UPLOADS_BUSY, Refusal, Slots
from conspecific.serving.uploads import decode_upload, read_body, require_image_type

T = TypeVar("T")
SHEET_SIDE = 480  # pixels of the query in a contact sheet, before it is cropped
CELL = 240  # pixels of each image in it
RECEIVED = 3  # images that may be on their way for each search that may be under way
THREADS = 2  # one searches while another decodes


@dataclass(frozen=True)
class Options:
    """k: number of answers. species: only images of this one, as the data names it. refine: the method."""

    k: int
    species: str | None
    refine: str | None = None


class Service:
    """A gallery with its limits, and the threads that search it. `close` ends the threads."""

    def __init__(self, gallery: ServedGallery, limits: LimitsConfig) -> None:
        self.gallery, self.limits = gallery, limits
        self._slots, self._uploads = Slots(limits.requests), Slots(RECEIVED * limits.requests, UPLOADS_BUSY)
        self._threads = ThreadPoolExecutor(THREADS, "search")

    async def answer(self, query: Request | int, make: Callable[[bytes | int], T]) -> T:
        """Return what a thread makes of a query: of the bytes that a request uploads, or of a sample id.

        Raises Refusal where the upload is not as it should be, too many searches are under way, or the time is over.
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                given: bytes | int = query if isinstance(query, int) else await self._body(query)
                with self._slots.taken():
                    return await asyncio.get_running_loop().run_in_executor(self._threads, make, given)
        except TimeoutError:
            took = f"The answer took longer than {self.limits.seconds:g} seconds, which is the limit here."
            raise Refusal(503, f"{took} Try again, or send a smaller image.") from None

    def search(self, query: bytes | int, options: Options) -> SearchResult:
        """Search by the bytes of an image file or by a sample id. Raises Refusal."""
        began = time.perf_counter()
        species = self.gallery.species_number(options.species)
        same = self.gallery.recognized(query) if isinstance(query, bytes) else ()
        if same:  # it was embedded with the gallery, and is no answer to itself
            asked: Image.Image | int = same[0]
        elif isinstance(query, bytes):
            asked = decode_upload(query, self.gallery.query_side, self.limits)
        else:
            asked = self.gallery.require(query)
        found = self.gallery.search(asked, options.k, species, same[1:], options.refine)
        seconds = round(time.perf_counter() - began, 4)
        return search_result(self.gallery, found, same, seconds, one_species=species is not None)

    def contact_sheet(self, query: bytes | int, options: Options) -> Image.Image:
        """Return one image of a query and what the model found, with species and scores. Raises Refusal."""
        found, gallery = self.search(query, options).model.answers, self.gallery
        if isinstance(query, bytes):
            asked = decode_upload(query, SHEET_SIDE, self.limits)
        else:
            asked = gallery.open_rgb(query, SHEET_SIDE)
        names = ["unknown species" if answer.species is None else shown(answer.species) for answer in found]
        return answer_sheet(
            asked,
            [square(gallery.open_rgb(answer.id, SHEET_SIDE), CELL) for answer in found],
            [None] * len(found),
            captions=names,
            scores=[answer.score for answer in found],
            places=max(len(found), ANSWERS),
            cell=CELL,
        )

    def why(self, query: bytes | int, answer: int) -> bytes:
        """Return a JPEG of the regions that a query and an image of the gallery agree in. Raises Refusal."""
        gallery = self.gallery
        gallery.require(answer)
        if isinstance(query, bytes):
            asked: Image.Image | int = decode_upload(query, FINER * gallery.image_size, self.limits)
        else:
            asked = gallery.require(query)
        return jpeg(gallery.why(asked, answer), "large")

    def close(self) -> None:
        """End the threads, without waiting for searches that nobody waits for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _body(self, request: Request) -> bytes:
        """Return what a request uploads, without the slot of a search: slow senders keep nobody from searching."""
        require_image_type(request.headers.get("content-type"))
        with self._uploads.taken():
            return await read_body(request.stream(), request.headers.get("content-length"), self.limits)


def shown(species: str) -> str:
    """Return a species as people read it: with spaces for underscores."""
    return species.replace("_", " ")
