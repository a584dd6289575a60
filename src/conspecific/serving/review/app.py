"""The web application of a review: the page, its files, and the JSON API behind it."""

from functools import lru_cache
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from conspecific import __version__
from conspecific.data.corrections import Decision
from conspecific.data.manifest import Manifest
from conspecific.serving.app import JPEG, REFUSALS, guarded, page_file
from conspecific.serving.jpeg import SIDES, ImageSize, jpeg
from conspecific.serving.refusal import Refusal
from conspecific.serving.review.questions import CLUSTER, COPY, LABEL, SPECIES, shown
from conspecific.serving.review.session import Session

PICTURED = 24  # images of a cluster on the page
MOST_BYTES = 10_000  # of an answer
KEPT = 512  # encoded images in memory, of 20 to 300 kB

api = APIRouter(prefix="/api", responses={key: REFUSALS[key] for key in (404, 413, 415, 422)})
pages = APIRouter(include_in_schema=False)


class Picture(BaseModel):
    """An image of the page."""

    id: int = Field(description="the image is at /api/images/{id}")
    name: str
    caption: str


class Asked(BaseModel):
    """A question."""

    number: int = Field(description="to be sent with its answer")
    kind: str
    title: str
    told: str = Field(description="why it is asked")
    images: list[Picture] = Field(description="that are asked about")
    more: int = Field(description="how many more there are than are shown")
    beside: list[Picture] = Field(description="to compare with")
    same: str = Field(description="what the answer `same` does")
    different: str = Field(description="what the answer `different` does")


class State(BaseModel):
    """How far the review is, and the next question."""

    run: str
    file: str
    total: int
    answered: int
    corrected: int = Field(description="images with another label, or left out")
    can_undo: bool
    question: Asked | None = Field(description="null at the end")
    upcoming: list[int] = Field(description="ids of images of the question after it")


class Answer(BaseModel):
    """An answer to a question. label: of a new species."""

    question: int
    decision: Decision
    label: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")


class Review:
    """A session with its images, by ids: the reviewed ones from 0, after them the known ones where they are others."""

    def __init__(self, run: str, session: Session, known: Manifest | None) -> None:
        self.run, self.session, self._known = run, session, known
        self.encoded = lru_cache(maxsize=KEPT)(self._encoded)

    def state(self) -> State:
        """Return how far the review is, and the next question."""
        session, number = self.session, self.session.current
        after = None if number is None else next(self._open_after(number), None)
        return State(
            run=self.run,
            file=str(session.file),
            total=len(session.questions),
            answered=session.answered,
            corrected=session.corrected,
            can_undo=session.can_undo,
            question=None if number is None else self._asked(number),
            upcoming=[] if after is None else [each.id for each in self._asked(after).images],
        )

    def _open_after(self, number: int) -> "filter[int]":
        return filter(self.session.pending, range(number + 1, len(self.session.questions)))

    def _asked(self, number: int) -> Asked:
        session, question = self.session, self.session.questions[number]
        pending = session.pending(number)
        species = shown(question.suggested)
        one = len(pending) == 1
        title = f"Is this {species}?" if one else f"Are these {len(pending)} images {species}?"
        label = session.label(pending[0])
        kept = f"stays {shown(label)}" if label else f"stay{'s' * one} without a label"
        if question.kind == SPECIES:
            title, kept = f"Are {shown(label)} and {species} one species?", "both names stay"
        first = 0 if question.kind in (SPECIES, COPY, LABEL) or self._known is None else len(session.manifest)
        return Asked(
            number=number,
            kind=question.kind,
            title=title,
            told=question.told,
            images=[self._picture(image, shown(session.label(image))) for image in pending[:PICTURED]],
            more=max(len(pending) - PICTURED, 0),
            beside=[self._picture(first + each.row, each.caption) for each in question.beside],
            same=f"{'becomes' if one else 'all become'} {species}",
            different=kept if question.kind != CLUSTER else "not one species; none gets a label",
        )

    def _picture(self, number: int, caption: str) -> Picture:
        manifest, row = self._located(number)
        return Picture(id=number, name=PurePosixPath(manifest.table["path"][row]).name, caption=caption)

    def _located(self, number: int) -> tuple[Manifest, int]:
        """Return the manifest and row of an image. Raises Refusal (404) where there is none."""
        own = len(self.session.manifest)
        if 0 <= number < own:
            return self.session.manifest, number
        if self._known is not None and 0 <= number - own < len(self._known):
            return self._known, number - own
        raise Refusal(404, f"There is no image {number}.")

    def _encoded(self, number: int, size: ImageSize) -> bytes:
        manifest, row = self._located(number)
        return jpeg(manifest.open_rgb(row, SIDES[size]), size)


def _review(request: Request) -> Review:
    review: Review = request.app.state.review
    return review


Reviewing = Annotated[Review, Depends(_review)]


@api.get("/review", summary="How far the review is, and the next question")
def state(review: Reviewing) -> State:
    return review.state()


@api.get("/species", summary="Names that a label can have")
def species(review: Reviewing) -> list[str]:
    return review.session.species


@api.post(
    "/answer",
    summary="Answer the question; it is written to the file before this returns",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": Answer.model_json_schema()}}}},
)
async def answer(request: Request, review: Reviewing) -> State:
    given = await _read_answer(request)
    await run_in_threadpool(review.session.answer, given.question, given.decision, given.label)
    return await run_in_threadpool(review.state)


@api.post("/undo", summary="Take the last answer back")
async def undo(request: Request, review: Reviewing) -> State:
    _require_json(request)
    await run_in_threadpool(review.session.undo)
    return await run_in_threadpool(review.state)


@api.get("/images/{id}", summary="An image of the review", responses=JPEG)
def image(id: int, review: Reviewing, size: ImageSize = "small") -> Response:
    headers = {"cache-control": "private, max-age=3600"}
    return Response(review.encoded(id, size), media_type="image/jpeg", headers=headers)


@pages.get("/")
def review_page() -> Response:
    return page_file("review.html")


def _require_json(request: Request) -> None:
    """Raise Refusal (415) unless a request says that it is JSON: another website cannot without asking this server."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"The request must be application/json; found {kind or 'no Content-Type'}.")


async def _read_answer(request: Request) -> Answer:
    _require_json(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Refusal(413, f"An answer has at most {MOST_BYTES:,} bytes.")
    try:
        return Answer.model_validate_json(bytes(body))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]
        raise Refusal(422, f"This is no answer: {'; '.join(faults)}.") from None


def create_review(review: Review, names: tuple[str, ...] = ()) -> ASGIApp:
    """Return the application. names: of this server, besides localhost and addresses, see `Guard`."""
    app = FastAPI(title="Conspecific review", version=__version__, docs_url=None, redoc_url=None)
    app.state.review = review
    app.include_router(api)
    app.include_router(pages)
    app.add_api_route("/page/{name}", page_file, include_in_schema=False)
    return guarded(app, names)
