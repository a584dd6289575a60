"""The images that are searched, and the networks that a query goes through."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from conspecific.config.choices import REFINEMENTS
from conspecific.config.refine import RefineConfig
from conspecific.data.manifest import Manifest
from conspecific.evaluation.score_precision import ScorePrecision
from conspecific.evaluation.why import FINER, why_picture
from conspecific.files import content_hash_of
from conspecific.images import center_crop, to_tensor
from conspecific.index import GallerySearcher
from conspecific.index.flip import flip_mean
from conspecific.index.refined import make_refined
from conspecific.index.whitening import GalleryAxes
from conspecific.models import Embedder
from conspecific.models.encode import embed_batches
from conspecific.runs.local import LocalRanking
from conspecific.serving.jpeg import SIDES, ImageSize, jpeg
from conspecific.serving.refusal import Refusal
from conspecific.types import EmbeddingSet, FloatArray, Neighbors

LOCAL = "local"  # a way to refine answers: the first ones are re-ranked by local descriptors
QUERY = -1  # the sample id of an image that is not in the gallery
MOST_RANKED = 2000  # images of a gallery up to which the slow methods are offered: they compare it with itself


@dataclass(frozen=True)
class Encoded:
    """The gallery as one network sees it.

    name: of the network, in a few words. to_features: its backbone, from images uint8 [B, 3, H, W] to feature maps.
    embeddings: of all images of the gallery, as they are searched. precision: what plain scores have been worth on
    validation; None where that is not known. refine: how answers are refined. plain: the plain search of all images;
    None makes an exact one. axes: of the gallery that `embeddings` are along; None where they are the network's own.
    local: what re-ranks the first answers; None for none.
    """

    name: str
    embedder: Embedder
    to_features: Callable[[Tensor], Tensor]
    device: torch.device
    embeddings: EmbeddingSet
    precision: ScorePrecision | None
    refine: RefineConfig = field(default_factory=RefineConfig)
    plain: GallerySearcher | None = None
    axes: GalleryAxes | None = None
    local: LocalRanking | None = None

    @property
    def worth(self) -> ScorePrecision | None:
        """What scores of these answers have been worth on validation, which was searched plainly."""
        return None if self.refine.name else self.precision

    @property
    def title(self) -> str:
        """The name of the network, and how its answers are refined."""
        if self.local is not None:
            return f"{self.name}, the first answers re-ranked by matching {self.local.calibration.name}"
        return f"{self.name}, refined by {self.refine.name}" if self.refine.name else self.name

    @cached_property
    def searcher(self) -> GallerySearcher:
        """The search of all images, refined or re-ranked as asked for."""
        return self._search_in(self.embeddings, self.plain)

    def _search_in(self, embeddings: EmbeddingSet, plain: GallerySearcher | None = None) -> GallerySearcher:
        found = make_refined(embeddings, self.embedder.metric, self.refine, plain)
        return found if self.local is None else self.local.searcher(embeddings, found)

    def embed(self, image: Tensor) -> FloatArray:
        """Return the embedding of an image, uint8 [3, H, W]: [1, D]."""
        views = [image[None], image[None].flip(-1)] if self.refine.flip else [image[None]]
        found = [each for [each] in embed_batches([self.embedder], views, self.to_features, self.device)]
        vector = flip_mean(found[0], found[1], self.embedder.metric) if self.refine.flip else found[0]
        return vector if self.axes is None else self.axes(vector)

    def nearest(self, query: EmbeddingSet, k: int, species: int | None, copies: tuple[int, ...]) -> Neighbors:
        """Return the k nearest images, of one species where it is given; fewer where there are no more.

        copies: sample ids that are left out besides that of the query.
        """
        if species is None:
            searcher = self.searcher
            count = len(self.embeddings)
        else:
            own = self.embeddings.ids[self.embeddings.labels == species]
            searcher, count = self._search_in(self.embeddings.select(own)), len(own)
        found = searcher.search(query, min(k + len(copies), count))
        there = np.flatnonzero((found.ids[0] >= 0) & ~np.isin(found.ids[0], copies))[
            :k
        ]  # -1 where a query left itself out
        return Neighbors(found.ids[:, there], found.scores[:, there])


@dataclass(frozen=True)
class Found:
    """The nearest images of one query. encoded: by which network. neighbors: one row."""

    encoded: Encoded
    neighbors: Neighbors


@dataclass(frozen=True)
class ServedGallery:
    """A gallery that answers queries, one at a time: torch and faiss use every core for each.

    One thread of its own runs them all: each thread that calls them would start as many others as there are cores.

    run: its name, or that of the index, for people. model, reference: the network of the run, and the baseline beside
    it, where there is one. local: the model with its first answers re-ranked, where that is asked for. no_reference:
    why there is no reference. examples: sample ids to try, of images the run was not trained on. contents: hash of each
    image file of the manifest, None where it is not known. Sample ids are those of the model's embeddings, which are
    row for row those of the manifest.
    """

    run: str
    manifest: Manifest
    image_size: int
    model: Encoded
    reference: Encoded | None
    local: Encoded | None = None
    no_reference: str = ""
    examples: tuple[int, ...] = ()
    contents: tuple[str | None, ...] = ()
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "networks"), repr=False)

    @property
    def methods(self) -> tuple[str, ...]:
        """How answers may be refined, on request: as the server was started, and what takes no seconds here."""
        slow = () if len(self.manifest) <= MOST_RANKED else ("database_augmentation", "k_reciprocal")
        known = tuple(each for each in REFINEMENTS if each not in slow or each == self.model.refine.method)
        return known if self.local is None else (*known, LOCAL)

    @property
    def method(self) -> str:
        """How answers are refined where a request does not say."""
        return self.model.refine.method if self.local is None else LOCAL

    def require_method(self, method: str | None) -> str:
        """Return a method to refine answers by; that of the server for None. Raises Refusal (404) for another."""
        if method is not None and method not in self.methods:
            raise Refusal(404, f"Answers are not refined by {method!r} here. Known here: {', '.join(self.methods)}.")
        return method or self.method

    def species_number(self, label: str | None) -> int | None:
        """Return the number of a species; None for None. Raises Refusal (404) for one that is not in the gallery."""
        if label is None:
            return None
        if not self.manifest.labelled or label not in self.manifest.species:
            raise Refusal(404, f"The gallery has no species {label!r}; /api/gallery lists those it has.")
        return self.manifest.species.index(label)

    def label(self, sample_id: int) -> str | None:
        """Return the species of an image as the data names it; None where it is not known."""
        label: str | None = self.manifest.table["label"][self._rows[sample_id]]
        return label

    def require(self, sample_id: int) -> int:
        """Return a sample id. Raises Refusal (404) where the gallery has no such image."""
        if sample_id not in self._rows:
            known = f"{len(self.manifest):,} ids are from {min(self._rows)} to {max(self._rows):,}"
            raise Refusal(404, f"The gallery has no image {sample_id}: its {known}.")
        return sample_id

    def open_rgb(self, sample_id: int, shorter_side: int) -> Image.Image:
        """Decode an image of the gallery; see `Manifest.open_rgb`."""
        return self.manifest.open_rgb(self._rows[sample_id], shorter_side)

    def recognized(self, upload: bytes) -> tuple[int, ...]:
        """Return the sample ids of images whose files hold these very bytes."""
        return self._copies.get(content_hash_of(upload), ())

    def search(
        self,
        query: Image.Image | int,
        k: int,
        species: int | None,
        copies: tuple[int, ...] = (),
        method: str | None = None,
    ) -> tuple[Found, Found | None]:
        """Return the k nearest images by the model, and by the reference.

        query: an upright RGB image, or the sample id of an image of the gallery, which is not among its own answers.
        copies: sample ids of other images that are left out, because they are the query too. method: by which the
        model's answers are refined; None as the server was started.
        """
        method = self.require_method(method)
        sides = {self.image_size, self.query_side if method == LOCAL else self.image_size}
        asked = query if isinstance(query, int) else {side: to_tensor(center_crop(query, side)) for side in sides}
        return self._thread.submit(self._search, asked, k, species, copies, method).result()

    @property
    def query_side(self) -> int:
        """The largest side in pixels that queries are looked at."""
        side = 0 if self.local is None or self.local.local is None else self.local.local.side
        return max(self.image_size, side)

    def why(self, query: Image.Image | int, answer: int) -> Image.Image:
        """Return a picture of the regions that a query and an image of the gallery agree in, by the model.

        query: as for `search`, of twice `image_size` at least. answer: a sample id.
        """
        side = FINER * self.image_size
        asked = self.open_rgb(query, side) if isinstance(query, int) else query
        label = (self.label(answer) or "unknown species").replace("_", " ")
        pair, titles = (asked, self.open_rgb(answer, side)), ("query", label)
        return self._thread.submit(why_picture, self.model.embedder, pair, self.image_size, titles).result()

    def _search(
        self, asked: Mapping[int, Tensor] | int, k: int, species: int | None, copies: tuple[int, ...], method: str
    ) -> tuple[Found, Found | None]:
        networks = [each for each in (self._refined(method), self.reference) if each is not None]
        found = [Found(each, each.nearest(self._query(each, asked), k, species, copies)) for each in networks]
        return found[0], found[1] if len(found) > 1 else None

    def _query(self, encoded: Encoded, asked: Mapping[int, Tensor] | int) -> EmbeddingSet:
        """Return a query as one network sees it. asked: by the side of the image in pixels, or a sample id."""
        if isinstance(asked, int):
            return encoded.embeddings.select(np.array([asked]))
        if encoded.local is not None:
            encoded.local.take(QUERY, asked[encoded.local.side])
        return EmbeddingSet(encoded.embed(asked[self.image_size]), np.array([QUERY]), np.array([-1]))

    @cached_property
    def encoded_image(self) -> Callable[[int, ImageSize], bytes]:
        """Return an image of the gallery as `jpeg` makes it."""

        @lru_cache(maxsize=4096)
        def encode(sample_id: int, size: ImageSize) -> bytes:
            return jpeg(self.open_rgb(sample_id, SIDES[size]), size)

        return encode

    def image_path(self, sample_id: int) -> str:
        """Return the path of an image below the root of the data."""
        return str(self.manifest.table["path"][self._rows[sample_id]])

    @cached_property
    def _refined(self) -> Callable[[str], Encoded]:
        """The model with another way to refine answers; each is made once, by the thread that searches."""

        @lru_cache(maxsize=len(REFINEMENTS) + 1)
        def refined(method: str) -> Encoded:
            if method == LOCAL and self.local is not None:
                return self.local
            refine = replace(self.model.refine, method=method)
            return self.model if method == self.model.refine.method else replace(self.model, refine=refine)

        return refined

    @cached_property
    def _copies(self) -> dict[str, tuple[int, ...]]:
        copies: dict[str, tuple[int, ...]] = {}
        for sample_id, content in zip(self._rows, self.contents, strict=False):
            if content is not None:
                copies[content] = (*copies.get(content, ()), sample_id)
        return copies

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {sample_id: row for row, sample_id in enumerate(self.model.embeddings.ids.tolist())}
