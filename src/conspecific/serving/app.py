"""The web application: the search page, its files, and the JSON API behind it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from conspecific import __version__
from conspecific.config.schema import LimitsConfig
from conspecific.serving.answers import GalleryFacts, Refused, SearchResult, Species, to_csv
from conspecific.serving.gallery import ServedGallery
from conspecific.serving.guard import Guard
from conspecific.serving.jpeg import ImageSize
from conspecific.serving.refusal import Refusal
from conspecific.serving.service import Options, Service
from conspecific.serving.uploads import ACCEPTED, BINARY

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST = 100  # answers to one query
SUMMARY = "The nearest images of a gallery, by a fine-tuned network and by the same network before training."
UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "the bytes of one image file",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*ACCEPTED.values(), BINARY)},
    }
}
CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}, "description": "a row for each answer"}}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "query and answers"}}
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}, "description": "the image"}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refused, "description": "no image"},
    404: {"model": Refused, "description": "no such image or species"},
    413: {"model": Refused, "description": "too many bytes or pixels"},
    415: {"model": Refused, "description": "not an image of a known format"},
    422: {"model": Refused, "description": "damaged image, or an option out of range"},
    503: {"model": Refused, "description": "too many searches under way, or out of time"},
}
api = APIRouter(prefix="/api", responses=REFUSALS)
facts = APIRouter(prefix="/api")
pages = APIRouter(include_in_schema=False)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _options(
    k: Annotated[int, Query(ge=1, le=MOST, description="number of answers")] = 10,
    species: Annotated[str | None, Query(description="only images of this species, as /api/gallery names it")] = None,
    refine: Annotated[str | None, Query(description="how answers are refined, one of those of /api/gallery")] = None,
) -> Options:
    return Options(k, species, refine)


Answering = Annotated[Service, Depends(_service)]
Asked = Annotated[Options, Depends(_options)]
SampleId = Annotated[int, Query(description="sample id of an image of the gallery")]
Answered = Annotated[int, Query(description="sample id of the answer")]


@facts.get("/gallery", summary="What is searched, and what may be sent")
def gallery_facts(service: Answering) -> GalleryFacts:
    gallery, limits = service.gallery, service.limits
    counts = gallery.manifest.table["label"].drop_nulls().value_counts(name="images").sort("label")
    return GalleryFacts(
        run=gallery.run,
        images=len(gallery.manifest),
        species=[Species(species=label, images=images) for label, images in counts.iter_rows()],
        model=gallery.model.title,
        refinements=list(gallery.methods),
        refinement=gallery.method,
        reference=None if gallery.reference is None else gallery.reference.name,
        no_reference=gallery.no_reference,
        examples=list(gallery.examples),
        formats=list(ACCEPTED.values()),
        upload_mb=limits.upload_mb,
        pixels=limits.pixels,
    )


@api.post("/search", summary="Search by an uploaded image", openapi_extra=UPLOAD)
async def search_upload(request: Request, service: Answering, options: Asked) -> SearchResult:
    return await service.answer(request, lambda query: service.search(query, options))


@api.get("/search", summary="Search by an image of the gallery, which is not among its own answers")
async def search_listed(id: SampleId, service: Answering, options: Asked) -> SearchResult:
    return await service.answer(id, lambda query: service.search(query, options))


@api.post("/search.csv", summary="The same as a table", openapi_extra=UPLOAD, responses=CSV)
async def table_of_upload(request: Request, service: Answering, options: Asked) -> Response:
    return _csv(await service.answer(request, lambda query: service.search(query, options)))


@api.get("/search.csv", summary="The same as a table", responses=CSV)
async def table_of_listed(id: SampleId, service: Answering, options: Asked) -> Response:
    return _csv(await service.answer(id, lambda query: service.search(query, options)))


@api.post("/sheet.png", summary="A contact sheet of the answers", openapi_extra=UPLOAD, responses=PNG)
async def sheet_of_upload(request: Request, service: Answering, options: Asked) -> Response:
    return _png(await service.answer(request, lambda query: _encoded_sheet(service, query, options)))


@api.get("/sheet.png", summary="A contact sheet of the answers", responses=PNG)
async def sheet_of_listed(id: SampleId, service: Answering, options: Asked) -> Response:
    return _png(await service.answer(id, lambda query: _encoded_sheet(service, query, options)))


@api.post("/why.jpg", summary="Which regions of the query and of an answer agree", openapi_extra=UPLOAD, responses=JPEG)
async def why_of_upload(request: Request, service: Answering, answer: Answered) -> Response:
    return _jpeg(await service.answer(request, lambda query: service.why(query, answer)))


@api.get("/why.jpg", summary="Which regions of the query and of an answer agree", responses=JPEG)
async def why_of_listed(id: SampleId, service: Answering, answer: Answered) -> Response:
    return _jpeg(await service.answer(id, lambda query: service.why(query, answer)))


@api.get("/images/{id}", summary="An image of the gallery", responses=JPEG)
def image(id: int, service: Answering, size: ImageSize = "small") -> Response:
    encoded = service.gallery.encoded_image(service.gallery.require(id), size)
    return Response(encoded, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _encoded_sheet(service: Service, query: bytes | int, options: Options) -> bytes:
    buffer = BytesIO()
    service.contact_sheet(query, options).save(buffer, "PNG")
    return buffer.getvalue()


def _csv(result: SearchResult) -> Response:
    return Response(to_csv(result), media_type="text/csv", headers=_download("answers.csv"))


def _png(encoded: bytes) -> Response:
    return Response(encoded, media_type="image/png", headers=_download("answers.png"))


def _jpeg(encoded: bytes) -> Response:
    return Response(encoded, media_type="image/jpeg", headers={"cache-control": "no-store"})


def _download(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}


@pages.get("/")
def search_page() -> Response:
    return page_file("search.html")


@pages.get("/docs")
def api_page() -> Response:
    return page_file("api.html")


@pages.get("/page/{name}")
def page_file(name: str) -> Response:
    path = PAGE / name
    if path.parent != PAGE or path.suffix not in KINDS or not path.is_file():
        raise HTTPException(404)
    return Response(path.read_bytes(), media_type=KINDS[path.suffix], headers={"cache-control": "no-cache"})


def create_app(gallery: ServedGallery, limits: LimitsConfig, names: Iterable[str] = ()) -> ASGIApp:
    """Return the application. names: of this server, besides localhost and addresses, see `Guard`."""
    service = Service(gallery, limits)

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="Conspecific", summary=SUMMARY, version=__version__, docs_url=None, redoc_url=None, lifespan=closing
    )
    app.state.service = service
    app.include_router(facts)
    app.include_router(api)
    app.include_router(pages)
    return guarded(app, names)


def guarded(app: FastAPI, names: Iterable[str] = ()) -> ASGIApp:
    """Return an application that says in a sentence why it refuses, behind its `Guard`."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _not_there)
    app.add_exception_handler(Exception, _failed)
    return Guard(app, names)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    waits = {"retry-after": "2"} if error.status == 503 else {}
    return JSONResponse({"error": error.sentence}, error.status, waits)


async def _not_valid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"error": f"The request cannot be answered: {'; '.join(faults)}."}, 422)


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} {request.url.path} is not answered here; /openapi.json lists what is."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "The request failed for a reason of the server's; its terminal shows it."}, 500)
