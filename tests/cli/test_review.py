"""conspecific review: from the command to a question, and from answers to a training's data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from conspecific.runs.directory import RunDirectory
from conspecific.serving import server

Command = Callable[..., CompletedProcess[str]]
SKIP = {"decision": "skip"}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a person answers to one question after another, in place of a browser, until none is left.

    An answer may have a kind: questions of other kinds are skipped before it.
    """
    given: list[dict[str, str]] = []

    def person(app: object, listening: object) -> None:
        with TestClient(app, base_url="http://localhost") as client:  # type: ignore[arg-type]
            state = client.get("/api/review").json()
            while given and state["question"]:
                for picture in (*state["question"]["images"], *state["question"]["beside"]):
                    assert client.get(f"/api/images/{picture['id']}").status_code == 200
                kind, number = state["question"]["kind"], state["question"]["number"]
                meant = given[0].get("kind", kind) == kind
                answer = {key: value for key, value in given.pop(0).items() if key != "kind"} if meant else SKIP
                state = client.post("/api/answer", json={"question": number, **answer}).json()

    monkeypatch.setattr(server, "run_until_interrupted", person)
    return given


def test_suspect_labels_are_asked_about_until_ctrl_c_and_then_where_it_stopped(
    conspecific: Command, run: RunDirectory, tmp_path: Path, answers: list[dict[str, str]]
) -> None:
    copied = shutil.copytree(run.path, tmp_path / "run")
    answers += [{"decision": "same"}, {"decision": "out"}]
    done = conspecific("review", str(copied), "most=3", "port=0")
    assert done.returncode == 0, done.stderr
    assert "questions: 3 of suspect label" in done.stdout
    assert "Review page: http://127.0.0.1:" in done.stdout and "corrections.csv" in done.stdout
    rows = (copied / "corrections.csv").read_text().splitlines()
    assert rows[0] == "path,label_before,label,decision,question" and [row.split(",")[3] for row in rows[1:]] == [
        "same",
        "out",
    ]
    again = conspecific("review", str(copied), "most=3", "port=0")
    assert "2 of them are answered in" in again.stdout
    used = conspecific("suspects", str(copied), f"data.corrections={copied / 'corrections.csv'}")
    assert used.returncode == 0, used.stderr
    assert "Corrections: 1 label changed, 1 image left out" in used.stdout


def draw(folder: Path) -> None:
    """Two pictures, each six times with a little noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for picture in range(2):
        base = np.asarray(Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).resize((96, 96)))
        for copy in range(6):
            pixels = np.clip(base + rng.integers(-9, 10, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{picture}{copy}.png")


def test_images_with_and_without_a_label_are_asked_about_together(
    conspecific: Command, run: RunDirectory, tmp_path: Path, answers: list[dict[str, str]]
) -> None:
    copied = shutil.copytree(run.path, tmp_path / "run")
    root = Path(json.loads(run.summary.read_text())["data_root"])
    draw(tmp_path / "all")
    listed = [(path, None) for path in sorted(each.name for each in (tmp_path / "all").iterdir())]
    for file in sorted(root.rglob("*.jpg"))[:24]:
        name = f"{file.parent.name}-{file.name}"
        shutil.copy(file, tmp_path / "all" / name)
        listed.append((name, file.parent.name))
    pl.DataFrame(listed, ["path", "label"], orient="row").write_csv(tmp_path / "all" / "table.csv")
    answers += [{**SKIP, "kind": "suspect label"}, {"decision": "same", "kind": "cluster"}]
    words = ["data=manifest", f"data.path={tmp_path / 'all' / 'table.csv'}", f"output={tmp_path / 'all.csv'}"]
    done = conspecific("review", str(copied), *words, "port=0", "most=1")
    assert done.returncode == 0, done.stderr
    assert "1 of suspect label, 1 of cluster, 1 of known or new" in done.stdout
    rows = pl.read_csv(tmp_path / "all.csv").filter(pl.col("question").is_in(["suspect label", "cluster"]))
    assert rows["decision"].to_list() == ["skip"] + 6 * ["same"] and rows["question"][-1] == "cluster"
    assert rows["label"][-1] in {label for _, label in listed} and rows["label_before"][-1] is None


def test_images_without_a_label_are_asked_about_by_cluster_and_by_score(
    conspecific: Command, run: RunDirectory, tmp_path: Path, answers: list[dict[str, str]]
) -> None:
    copied = shutil.copytree(run.path, tmp_path / "run")
    draw(tmp_path / "new")
    answers += [{"decision": "new", "label": "Vanessa nova"}, {"decision": "different"}]
    words = ["data=images", f"data.root={tmp_path / 'new'}"]
    done = conspecific("review", str(copied), *words, f"output={tmp_path / 'new.csv'}", "port=0", "most=4")
    assert done.returncode == 0, done.stderr
    assert "2 of cluster" in done.stdout
    used = conspecific("embed", str(copied), *words, f"data.corrections={tmp_path / 'new.csv'}")
    assert "6 labels changed, 0 images left out, 1 new species (Vanessa nova), 6 images without a label" in used.stdout
