"""The API: what it answers, what it refuses and with which words, and who may ask."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from httpx2 import Response
from PIL import Image
from starlette.testclient import TestClient

from conspecific.config.refine import RefineConfig
from conspecific.config.schema import LimitsConfig
from conspecific.files import content_hash
from conspecific.index.refined import make_refined
from conspecific.serving.app import create_app
from conspecific.serving.gallery import ServedGallery
from conspecific.serving.warm_up import warm_up

from .conftest import HOSTILE, encoded_image

SMALL = LimitsConfig(upload_mb=0.05, pixels=100_000, requests=1, seconds=5)
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def client(gallery: ServedGallery) -> Iterator[TestClient]:
    with TestClient(create_app(gallery, SMALL, ["birds.example"]), base_url="http://localhost:8000") as client:
        yield client


def post(client: TestClient, content: bytes, path: str = "search", **options: Any) -> Response:
    return client.post(f"/api/{path}", content=content, headers=options.pop("headers", JPEG), params=options)


def error_of(response: Response) -> str:
    body = response.json()
    assert body.keys() == {"error"}
    return str(body["error"])


def test_an_upload_finds_itself_with_species_score_and_precision(client: TestClient, image: Path) -> None:
    found = post(client, image.read_bytes()).json()
    model, reference = found["model"], found["reference"]
    assert [answer["rank"] for answer in model["answers"]] == list(range(1, 11))
    nearest = model["answers"][0]
    assert (nearest["species"], nearest["path"]) == (image.parent.name, f"{image.parent.name}/{image.name}")
    assert nearest["score"] == pytest.approx(1, abs=1e-5)
    assert nearest["precision"] == pytest.approx(20 / 200)  # of the 200 highest scores, 20 are above 0.9
    scores = [answer["score"] for answer in model["answers"]]
    assert scores == sorted(scores, reverse=True)
    assert (model["threshold"], model["may_be_none"]) == (0.9, False)
    assert sum(vote["count"] for vote in model["votes"]) == 10
    assert reference["answers"][0]["id"] == nearest["id"]
    assert (reference["threshold"], reference["answers"][0]["precision"]) == (None, None)


def test_a_score_below_the_threshold_may_be_of_no_species(gallery: ServedGallery) -> None:
    precision = replace(gallery.model.precision, threshold=1.5)  # type: ignore[type-var]
    served = replace(gallery, model=replace(gallery.model, precision=precision), reference=None, no_reference="Lost.")
    with TestClient(create_app(served, SMALL), base_url="http://127.0.0.1") as client:
        found = post(client, encoded_image("JPEG")).json()
        assert found["model"]["may_be_none"] is True
        assert found["reference"] is None
        facts = client.get("/api/gallery").json()
        assert (facts["reference"], facts["no_reference"]) == (None, "Lost.")


def test_an_answer_is_rolled_up_to_the_rank_at_which_it_is_sure(gallery: ServedGallery, image: Path) -> None:
    taxa = {"order": dict.fromkeys(gallery.manifest.species, "Aves")}
    shares = {"species": 0.99, "order": 0.9}
    precision = replace(gallery.model.precision, sure=shares)  # type: ignore[type-var]
    manifest, model = replace(gallery.manifest, taxa=taxa), replace(gallery.model, precision=precision)
    with TestClient(create_app(replace(gallery, manifest=manifest, model=model), SMALL)) as client:
        client.base_url = "http://127.0.0.1"  # type: ignore[assignment]
        found = post(client, image.read_bytes()).json()
        assert found["model"]["sure_as"] == {"rank": "order", "taxon": "Aves"}
        assert found["reference"]["sure_as"] is None, "of it no validation is known"
        assert post(client, image.read_bytes(), species="Blue_Jay").json()["model"]["sure_as"] is None


def test_answers_can_be_of_one_species(client: TestClient, image: Path) -> None:
    found = post(client, image.read_bytes(), species=HOSTILE, k=100).json()
    assert [answer["species"] for answer in found["model"]["answers"]] == [HOSTILE] * 5
    assert found["model"]["votes"] == [{"species": HOSTILE, "count": 5}]
    assert "no species 'dodo'" in error_of(post(client, image.read_bytes(), species="dodo"))


def test_answers_can_be_refined(gallery: ServedGallery) -> None:
    refine = RefineConfig("k_reciprocal", k1=3, k2=2)
    refined = replace(gallery, model=replace(gallery.model, refine=refine))
    expected = make_refined(gallery.model.embeddings, gallery.model.embedder.metric, refine)
    with TestClient(create_app(refined, SMALL), base_url="http://localhost:8000") as client:
        found = client.get("/api/search", params={"id": 0}).json()["model"]
        jays = client.get("/api/search", params={"id": 0, "species": "Blue_Jay"}).json()["model"]
        plain = client.get("/api/search", params={"id": 0, "refine": "none"}).json()["model"]
        facts = client.get("/api/gallery").json()
        assert "not refined by 'magic' here. Known here: none, query" in error_of(
            client.get("/api/search", params={"id": 0, "refine": "magic"})
        )
    assert facts["refinement"] == "k_reciprocal" and len(facts["refinements"]) == 4
    assert (found["network"], plain["network"]) == ("Model, refined by k_reciprocal", "Model")
    with TestClient(create_app(gallery, SMALL), base_url="http://localhost:8000") as client:
        assert client.get("/api/search", params={"id": 0}).json()["model"] == plain
        asked = client.get("/api/search", params={"id": 0, "refine": "query_expansion"}).json()["model"]
        assert (asked["threshold"], asked["network"]) == (None, "Model, refined by query_expansion")
    query = gallery.model.embeddings.select(np.array([0]))
    assert [answer["id"] for answer in found["answers"]] == expected.search(query, 10).ids[0].tolist()
    assert (found["threshold"], found["may_be_none"]) == (None, False)
    assert {answer["species"] for answer in jays["answers"]} == {"Blue_Jay"} and len(jays["answers"]) == 6


def test_an_image_of_the_gallery_leaves_itself_out(client: TestClient) -> None:
    ids = [answer["id"] for answer in client.get("/api/search", params={"id": 3, "k": 100}).json()["model"]["answers"]]
    assert sorted([*ids, 3]) == list(range(17))
    facts = client.get("/api/gallery").json()
    assert (facts["images"], facts["species"][0]) == (17, {"species": HOSTILE, "images": 5})
    owl = client.get("/api/search", params={"id": 16, "species": "owl"})
    assert client.get("/api/search", params={"id": 16}).json()["model"]["answers"]
    assert owl.json()["model"] | {"network": ""} == {
        "network": "", "answers": [], "votes": [], "threshold": 0.9, "may_be_none": False, "sure_as": None, "told": ""
    }  # fmt: skip


def test_an_uploaded_file_of_the_gallery_is_recognized_and_no_answer(gallery: ServedGallery, image: Path) -> None:
    contents: list[str | None] = [content_hash(gallery.manifest.path(row)) for row in range(17)]
    contents[5], contents[16] = contents[0], None  # a copy under another name, and an image of which nothing is known
    with TestClient(create_app(replace(gallery, contents=tuple(contents)), SMALL), base_url="http://[::1]") as client:
        found = post(client, image.read_bytes(), k=100).json()
        listed = client.get("/api/search", params={"id": 0, "k": 100}).json()
        other = post(client, encoded_image("PNG")).json()
    assert [(each["id"], each["path"]) for each in found["recognized"]] == [
        (row, gallery.image_path(row)) for row in (0, 5)
    ]
    for by in ("model", "reference"):
        kept = [answer["id"] for answer in listed[by]["answers"] if answer["id"] != 5]
        assert [answer["id"] for answer in found[by]["answers"]] == kept and len(kept) == 15
    assert (listed["recognized"], other["recognized"]) == ([], [])


def test_a_table_holds_both_networks_and_no_formula(client: TestClient, image: Path) -> None:
    answer = post(client, image.read_bytes(), "search.csv", k=17)
    assert answer.headers["content-type"].startswith("text/csv")
    table = pl.read_csv(answer.content)
    assert table.columns == ["by", "rank", "species", "score", "precision", "path"]
    assert table.group_by("by", maintain_order=True).len().rows() == [("model", 17), ("reference", 17)]
    assert {"'=wren", "Blue_Jay", HOSTILE} <= set(table["species"])
    assert client.get("/api/search.csv", params={"id": 0, "k": 2}).text.count("\n") == 5


def test_a_contact_sheet_is_an_image(client: TestClient, image: Path) -> None:
    uploaded = post(client, image.read_bytes(), "sheet.png")
    listed = client.get("/api/sheet.png", params={"id": 0, "k": 3})
    for answer in (uploaded, listed):
        with Image.open(BytesIO(answer.content), formats=["PNG"]) as sheet:
            assert sheet.width > 960
        assert answer.headers["content-disposition"] == 'attachment; filename="answers.png"'


def test_images_are_encoded_anew(client: TestClient) -> None:
    for size, expected in (("small", (320, 320)), ("large", (80, 60))):
        answer = client.get("/api/images/0", params={"size": size})
        with Image.open(BytesIO(answer.content), formats=["JPEG"]) as image:
            assert image.size == expected
    assert "no image 99" in error_of(client.get("/api/images/99"))
    assert client.get("/api/images/../../conftest.py").status_code == 404


@pytest.mark.parametrize(
    ("content", "headers", "status", "told"),
    [
        (b"", JPEG, 400, "no image in its body"),
        (b"GIF89a, or so it says", JPEG, 415, "not an image of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"content-type": "image/svg+xml"}, 415, "Known here: JPEG, PNG"),
        (encoded_image("JPEG")[:-200], JPEG, 422, "damaged"),
        (encoded_image("TGA"), JPEG, 415, "not an image of a known format"),
        (encoded_image("PNG", (500, 300)), JPEG, 413, "500 x 300 pixels, more than 100,000"),
        (encoded_image("BMP", (200, 100)), JPEG, 413, "larger than 0.05 MB"),
        (encoded_image("JPEG"), {"content-type": "text/plain"}, 415, "found Content-Type text/plain"),
        (encoded_image("JPEG"), {"content-type": "multipart/form-data; boundary=x"}, 415, "must be the image itself"),
    ],
    ids=["empty", "text", "svg", "cut", "format", "pixels", "bytes", "type", "form"],
)
def test_a_bad_upload_gets_a_sentence(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, told: str
) -> None:
    answer = post(client, content, headers=headers)
    assert answer.status_code == status
    assert told in error_of(answer)


def test_a_body_of_undeclared_length_is_cut_at_the_limit(client: TestClient) -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield bytes(10_000)

    assert client.post("/api/search", content=endless(), headers=JPEG).status_code == 413


def test_options_and_places_that_are_not_there_get_a_sentence(client: TestClient) -> None:
    bad = post(client, encoded_image("PNG"), k=0)
    assert (bad.status_code, "k: Input should be greater than" in error_of(bad)) == (422, True)
    missing = client.get("/nothing")
    assert (missing.status_code, error_of(missing)) == (
        404,
        "GET /nothing is not answered here; /openapi.json lists what is.",
    )
    assert client.get("/page/..%2fapp.py").status_code == 404
    assert client.delete("/api/gallery").status_code == 405


@pytest.fixture
def stuck(gallery: ServedGallery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Searches wait until the function that is returned is called; it waits for the first one."""
    begun, ends = threading.Event(), threading.Event()

    def search(*_: object) -> None:
        begun.set()
        ends.wait(10)
        raise RuntimeError("nobody waits for this")

    monkeypatch.setattr(ServedGallery, "search", search)
    yield lambda: begun.wait(10) and None
    ends.set()


def test_one_search_warms_up(gallery: ServedGallery) -> None:
    assert asyncio.run(warm_up(create_app(gallery, LimitsConfig()))) == 200


def test_too_many_searches_at_once_are_refused(gallery: ServedGallery, stuck: Callable[[], None]) -> None:
    with TestClient(create_app(gallery, replace(SMALL, seconds=1.0)), base_url="http://127.0.0.1") as client:
        answers: list[Response] = []
        first = threading.Thread(target=lambda: answers.append(client.get("/api/search", params={"id": 0})))
        first.start()
        stuck()
        second = client.get("/api/search", params={"id": 0})
        first.join()
    assert (second.status_code, second.headers["retry-after"]) == (503, "2")
    assert "searches that may run at once are under way" in error_of(second)
    assert answers[0].status_code == 503
    assert "longer than 1 seconds" in error_of(answers[0])


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("BIRDS.example:80", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_only_own_names_are_answered(client: TestClient, host: str, own: bool) -> None:
    answer = client.get("/api/gallery", headers={"host": host})
    assert answer.status_code == (200 if own else 421)
    if not own:
        assert "does not answer for" in error_of(answer)


@pytest.mark.parametrize("path", ["/", "/docs", "/api/gallery", "/api/images/0", "/page/search.js", "/nothing"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers and "access-control-allow-origin" not in headers


def test_a_fault_of_the_server_is_told_without_its_details(
    gallery: ServedGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServedGallery, "search", lambda *_: 1 / 0)
    app = create_app(gallery, SMALL)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/api/search", params={"id": 0})
    assert answer.status_code == 500
    assert "division" not in error_of(answer)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_why_an_answer_matches_is_a_picture(client: TestClient, image: Path) -> None:
    listed = client.get("/api/why.jpg", params={"id": 0, "answer": 3})
    sent = post(client, image.read_bytes(), "why.jpg", answer=3)
    for found in (listed, sent):
        assert found.headers["content-type"] == "image/jpeg"
        with Image.open(BytesIO(found.content)) as picture:
            assert picture.width > 2 * 128
    assert client.get("/api/why.jpg", params={"id": 0, "answer": 99}).status_code == 404
    assert client.get("/api/why.jpg", params={"id": 0}).status_code == 422


def test_the_schema_describes_the_api(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    search = schema["paths"]["/api/search"]["post"]
    assert "image/jpeg" in search["requestBody"]["content"]
    assert {"200", "413", "415", "422", "503"} <= search["responses"].keys()
    assert "/" not in schema["paths"]
    assert "cdn" not in json.dumps(schema) + client.get("/docs").text
