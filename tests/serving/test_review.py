"""The review: what is asked, what an answer writes, who may answer, and the page in a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from conspecific.data.corrections import correct, load_manifest, read_corrections
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder, from_images
from conspecific.errors import DataError
from conspecific.evaluation.clusters import NearestSpecies
from conspecific.evaluation.cross_validation import CrossValidation
from conspecific.runs.answers import Threshold
from conspecific.serving.refusal import Refusal
from conspecific.serving.review.app import Review, create_review
from conspecific.serving.review.questions import (
    cluster_questions,
    copy_questions,
    doubtful_answers,
    known_questions,
    label_questions,
    species_questions,
)
from conspecific.serving.review.session import Session
from conspecific.types import EmbeddingSet, EvalResult, Neighbors

from .browser import Browser
from .conftest import HOSTILE, running
from .test_in_a_browser import needs_browser, text_of

MakeFolder = Callable[..., Path]
JSON = {"content-type": "application/json"}


@pytest.fixture
def manifest(make_folder: MakeFolder) -> Manifest:
    return from_folder(str(make_folder({"robin": 3, "wren_2": 3, HOSTILE: 2})))


def suspects(*rows: tuple[str, str, str, str, str]) -> pl.DataFrame:
    columns = ["path", "label", "suggested", "nearest", "nearest_suggested"]
    return pl.DataFrame(rows, columns, orient="row").with_columns(like_label=0.25, like_suggested=0.5)


def labels_asked(manifest: Manifest) -> list[Any]:
    rows = (
        ("robin/00.png", "robin", "wren_2", "robin/01.png", "wren_2/00.png"),
        ("robin/01.png", "robin", HOSTILE, "robin/02.png", f"{HOSTILE}/00.png"),
        ("wren_2/01.png", "wren_2", "robin", "wren_2/00.png", "robin/02.png"),
        ("wren_2/02.png", "wren_2", "robin", "wren_2/00.png", "robin/02.png"),
    )
    return label_questions(suspects(*rows), manifest)


@pytest.fixture
def start(manifest: Manifest, tmp_path: Path) -> Callable[[], Session]:
    """Starts the review, once more each time."""
    return lambda: Session(manifest, manifest.species, labels_asked(manifest), tmp_path / "corrections.csv")


def test_answers_are_written_at_once_and_the_data_take_them(
    start: Callable[[], Session], manifest: Manifest, tmp_path: Path
) -> None:
    session = start()
    session.answer(0, "same")
    session.answer(1, "new", "  Prunella  modularis ")
    session.answer(2, "skip")
    with pytest.raises(Refusal, match="answered already"):
        session.answer(0, "out")
    again = start()  # as after a crash: nothing but the file is left
    assert (again.answered, again.corrected) == (2, 2)
    assert [each.images for each in again.questions[-1:]] == [(6,)], "what was skipped is asked last"
    assert again.current == 2 and again.pending(2) == [7]
    again.answer(2, "out", "a name that only a new species has")
    assert again.current == 3
    again.answer(3, "different")
    assert again.current is None and again.answered == 4
    node = {"_target_": "conspecific.data.sources.from_folder", "root": str(manifest.root)}
    found = load_manifest({**node, "corrections": str(tmp_path / "corrections.csv")})
    assert dict(found.table.select("path", "label").iter_rows()) == {
        f"{HOSTILE}/00.png": HOSTILE,
        f"{HOSTILE}/01.png": HOSTILE,
        "robin/00.png": "wren_2",
        "robin/01.png": "Prunella modularis",
        "robin/02.png": "robin",
        "wren_2/00.png": "wren_2",
        "wren_2/01.png": "wren_2",
    }


def test_undo_takes_back_one_answer_after_another_also_of_an_earlier_session(start: Callable[[], Session]) -> None:
    session = start()
    session.answer(0, "same")
    session.answer(1, "skip")
    session.undo()
    assert session.current == 1 and session.file.read_text().count("\n") == 2
    again = start()
    again.undo()
    assert (again.current, again.answered, again.can_undo) == (0, 0, False)
    assert read_corrections(again.file) == []
    with pytest.raises(Refusal, match="no answer to take back"):
        again.undo()


def test_a_file_that_changed_meanwhile_is_not_overwritten(start: Callable[[], Session]) -> None:
    first, second = start(), start()
    first.answer(0, "same")
    written = first.file.read_text()
    with pytest.raises(Refusal, match="was changed by another program"):
        second.answer(0, "out")
    assert second.current == 0 and first.file.read_text() == written


def test_a_table_that_a_spreadsheet_saved_is_gone_on_with(start: Callable[[], Session]) -> None:
    first = start()
    first.answer(0, "same")
    first.file.write_text(first.file.read_text().replace(",", ";"), encoding="utf-16")
    again = start()
    again.answer(1, "different")
    assert [row.decision for row in read_corrections(again.file)] == ["same", "different"]


def test_a_new_file_begins_with_the_corrections_of_the_run(manifest: Manifest, tmp_path: Path) -> None:
    first = Session(manifest, manifest.species, labels_asked(manifest), tmp_path / "first.csv")
    first.answer(0, "different")
    first.answer(1, "new", "dunnock")
    base = read_corrections(first.file)
    corrected = correct(manifest, base)
    second = Session(corrected, corrected.species, labels_asked(corrected), tmp_path / "second.csv", base)
    assert second.current == 2 and not second.can_undo, "what was decided before is not asked again"
    second.answer(2, "same")
    assert read_corrections(second.file)[:2] == base and len(correct(manifest, read_corrections(second.file))) == 8
    with pytest.raises(DataError, match="does not begin with the corrections"):
        Session(corrected, corrected.species, [], tmp_path / "second.csv", base[::-1])


def compared(manifest: Manifest) -> CrossValidation:
    """The species are apart, but for the last wren, which lies among the robins."""
    vectors = np.random.default_rng(0).normal(0, 0.05, (len(manifest), 8)).astype(np.float32)
    vectors[np.arange(len(manifest)), manifest.labels] += 1
    wrens = np.flatnonzero(manifest.labels == manifest.species.index("wren_2"))
    vectors[wrens[-1]] = vectors[manifest.labels == manifest.species.index("robin")].mean(axis=0)
    return CrossValidation.of(EmbeddingSet(vectors, np.arange(len(manifest)), manifest.labels), manifest)


def pairs_asked(manifest: Manifest) -> list[Any]:
    """Wrens may be robins, and two images are copies of each other under two names; then suspect labels."""
    found, rows = compared(manifest), {path: row for row, path in enumerate(manifest.table["path"])}
    pairs = pl.DataFrame({"first": ["robin"], "second": ["wren_2"], "auroc": [0.5], "at_most": [0.7]})
    names = ("robin/00.png", "wren_2/02.png"), ("robin/01.png", "robin/02.png"), ("robin/01.png", f"{HOSTILE}/01.png")
    copies = pl.DataFrame(
        [
            (*sorted(rows[name] for name in pair), "near", "mirrored", 9, 0.9 - place / 10)
            for place, pair in enumerate(names)
        ],
        ["first", "second", "kind", "view", "distance", "similarity"],
        orient="row",
    )
    asked = species_questions(pairs, found.embeddings, manifest) + copy_questions(copies, found, manifest)
    return asked + label_questions(
        suspects(("wren_2/01.png", "wren_2", "robin", "wren_2/00.png", "robin/02.png")), manifest
    )


def test_species_and_copies_are_asked_about_and_what_an_answer_settles_is_not_asked_again(
    manifest: Manifest, tmp_path: Path
) -> None:
    questions, paths = pairs_asked(manifest), manifest.table["path"].to_list()
    assert [(each.kind, len(each.images), each.suggested) for each in questions] == [
        ("two names", 3, "robin"),
        ("copy", 1, "robin"),
        ("copy", 1, questions[2].suggested),
        ("suspect label", 1, "robin"),
    ], "robins that are copies of each other are one species"
    assert paths[questions[1].images[0]] == "wren_2/02.png", "of two copies, the one is asked about that looks wrong"
    assert "a near-duplicate (mirrored) of an image that is labelled robin" in questions[1].told
    session = Session(manifest, manifest.species, questions, tmp_path / "corrections.csv")
    review = Review("runs/tiny", session, None)
    asked = review.state().question
    assert asked is not None and (asked.title, asked.same, asked.different) == (
        "Are wren 2 and robin one species?",
        "all become robin",
        "both names stay",
    )
    session.answer(0, "same")
    assert (session.corrected, session.current) == (3, 2), "a wren that is a robin now is neither a copy nor suspect"
    session.undo()
    session.answer(0, "different")
    session.answer(1, "out")
    assert (session.pending(3), session.corrected) == ([paths.index("wren_2/01.png")], 1)


def test_test_images_with_a_wrong_first_answer_near_the_threshold_are_asked_about(manifest: Manifest) -> None:
    def row(path: str, hit: bool, score: float, nearest: str) -> dict[str, object]:
        near = [nearest, "robin/01.png", "robin/02.png"]
        answers = {"neighbor_paths": near, "neighbor_labels": [each.split("/")[0] for each in near]}
        found = {"neighbor_scores": [score, 0.1, 0.1], "neighbor_hits": [hit, False, False]}
        return {"path": path, "label": path.split("/")[0], **answers, **found}

    table = pl.DataFrame(
        [
            row("wren_2/00.png", False, 0.9, "robin/00.png"),
            row("wren_2/01.png", False, 0.52, "robin/00.png"),
            row("wren_2/02.png", True, 0.5, "wren_2/00.png"),
            row("gone/02.png", False, 0.5, "robin/00.png"),
        ]
    )
    rows, found = doubtful_answers(EvalResult({}, {}, table), manifest)
    asked = known_questions(rows, found, manifest, Threshold(0.5, 0.95), 5)
    assert [manifest.table["path"][each.images[0]] for each in asked] == ["wren_2/01.png", "wren_2/00.png"]
    assert asked[0].suggested == "robin" and "0.520, is just above 0.500" in asked[0].told


def newcomers(root: Path, manifest: Manifest) -> tuple[Manifest, list[Any]]:
    """Images without a label: two clusters, and two images near the threshold, one of them in a cluster."""
    new = from_images(str(root))
    vectors = np.eye(6, 4, dtype=np.float32)[[0, 0, 1, 1, 1, 2]]
    images = EmbeddingSet(vectors, np.arange(6), np.zeros(6, np.int64))
    gallery = EmbeddingSet(np.eye(8, 4, dtype=np.float32), np.arange(8), manifest.labels)
    nearest = [NearestSpecies("robin", 0.9), NearestSpecies("wren_2", 0.8)]
    asked = cluster_questions(images, np.array([0, 0, 1, 1, 1, -1]), nearest, gallery, manifest)
    found = Neighbors(np.array([[2, 3], [4, -1], [5, 6]]), np.array([[0.9, 0.1], [0.52, 0.1], [0.48, 0.1]]))
    return new, [*asked, *known_questions(np.array([3, 1, 5]), found, manifest, Threshold(0.5, 0.95), 2)]


def test_clusters_and_newcomers_get_labels(make_folder: MakeFolder, manifest: Manifest, tmp_path: Path) -> None:
    new, questions = newcomers(make_folder({"new": 6}, name="more") / "new", manifest)
    assert [each.images for each in questions] == [(0, 1), (2, 3, 4), (1,), (5,)]
    session = Session(new, manifest.species, questions, tmp_path / "new.csv")
    session.answer(0, "same")
    session.answer(1, "new", "dunnock")
    assert session.current == 3, "an image of a cluster that has a label is not asked about again"
    session.undo()
    session.answer(1, "different")
    assert session.pending(3) == [5]
    session.answer(3, "new", "robin")  # a species that is known: no new one
    found = [(row.path, row.label, row.decision) for row in read_corrections(session.file)]
    assert found == [
        ("00.png", HOSTILE if questions[0].suggested == HOSTILE else "robin", "same"),
        ("01.png", "robin", "same"),
        *((f"{row:02}.png", "", "different") for row in (2, 3, 4)),
        ("05.png", "robin", "same"),
    ]
    assert correct(new, read_corrections(session.file)).table["label"].to_list() == ["robin"] * 3


def test_the_api_tells_what_is_asked_and_refuses_what_is_no_answer(start: Callable[[], Session]) -> None:
    session = start()
    with TestClient(create_review(Review("runs/tiny", session, None)), base_url="http://localhost") as client:
        found = client.get("/api/review").json()
        asked = found["question"]
        assert (found["total"], found["answered"], found["can_undo"], found["upcoming"]) == (4, 0, False, [3])
        assert (asked["title"], asked["same"], asked["different"]) == (
            "Is this wren 2?",
            "becomes wren 2",
            "stays robin",
        )
        assert "looks more like wren 2: similarity 0.500 against 0.250" in asked["told"]
        images = [picture["id"] for picture in (*asked["images"], *asked["beside"])]
        assert {client.get(f"/api/images/{each}").headers["content-type"] for each in images} == {"image/jpeg"}
        body = {"question": 0, "decision": "same"}
        refusals = {
            415: client.post("/api/answer", content=b'{"question": 0, "decision": "out"}'),  # as a form elsewhere can
            413: client.post("/api/answer", json={**body, "label": "x" * 20_000}),
            409: client.post("/api/answer", json={**body, "question": 2}),
            422: client.post("/api/answer", json={**body, "decision": "maybe"}),
            404: client.get("/api/images/99"),
            421: client.get("/api/review", headers={"host": "evil.example"}),
        }
        assert {status: found.status_code for status, found in refusals.items()} == {each: each for each in refusals}
        assert all(found.json().keys() == {"error"} for found in refusals.values())
        assert client.post("/api/undo").status_code == 415
        assert client.post("/api/answer", json={**body, "decision": "new", "label": " "}).status_code == 422
        assert client.post("/api/answer", json={**body, "decision": "new", "label": "a\nb"}).status_code == 422
        assert not session.file.exists()
        assert client.post("/api/answer", json=body).json()["question"]["number"] == 1
        assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@needs_browser
def test_the_page_is_answered_by_keyboard_and_goes_on_where_it_stopped(
    browser: Browser, start: Callable[[], Session]
) -> None:
    with running(create_review(Review("runs/tiny", start(), None))) as address:
        browser.open(address)
        browser.run("addEventListener('securitypolicyviolation', (event) => { window.refused = event.blockedURI; })")
        browser.wait_for("document.getElementById('title').innerText == 'Is this wren 2?'")
        browser.wait_for("[...document.images].filter((image) => image.src).every((image) => image.naturalWidth > 0)")
        browser.press("s")
        browser.wait_for("document.getElementById('counts').innerText.startsWith('1 of 4 answered, 1 image corrected')")
        assert text_of(browser, "#title") == f"Is this {HOSTILE.replace('_', ' ')}?", "names are text, never markup"
        assert browser.run("document.getElementById('status').innerText").startswith("same. Is this")
        assert browser.run("document.activeElement.id") == "title"
        browser.press("n")
        browser.wait_for("document.getElementById('naming').open")
        browser.write("dunnock")
        browser.press("Enter")
        browser.wait_for("document.getElementById('counts').innerText.startsWith('2 of 4')")
        browser.press("k", "u")  # a key while an answer is under way is not taken, and not kept
        browser.wait_for("!document.getElementById('counts').innerText.startsWith('2 of 4')")
        assert browser.run("window.refused ?? null") is None
    with running(create_review(Review("runs/tiny", start(), None))) as address:
        browser.open(address, 390)
        browser.wait_for("document.getElementById('counts').innerText.startsWith('2 of 4')")
        assert browser.run("document.documentElement.scrollWidth") <= 390
        browser.run("document.getElementById('letters').click()")
        browser.press("d")
        browser.run("document.querySelector('[data-decision=different]').focus()")
        browser.press("Enter")
        browser.wait_for("document.getElementById('counts').innerText.startsWith('3 of 4')")
        browser.run("document.querySelector('.picture').click()")
        browser.wait_for("document.getElementById('large').open")
        browser.press("Escape")
        browser.run("document.querySelector('[data-decision=out]').click()")
        browser.wait_for("!document.getElementById('end').hidden")
        assert "data.corrections=" in text_of(browser, "#end-command")


@needs_browser
def test_the_page_asks_whether_two_species_are_one(browser: Browser, manifest: Manifest, tmp_path: Path) -> None:
    session = Session(manifest, manifest.species, pairs_asked(manifest), tmp_path / "corrections.csv")
    with running(create_review(Review("runs/tiny", session, None))) as address:
        browser.open(address)
        browser.wait_for("document.getElementById('title').innerText == 'Are wren 2 and robin one species?'")
        assert browser.run("document.querySelectorAll('#asked .picture').length") == 3
        assert text_of(browser, "#beside").count("robin") == 3
        browser.press("s")
        browser.wait_for(
            "document.getElementById('counts').innerText.startsWith('3 of 4 answered, 3 images corrected')"
        )
