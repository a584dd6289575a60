"""The examples run, on small data."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TINY = [
    "model=timm",
    "model.backbone=test_resnet",
    "model.weights=none",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.workers=0",
    "trainer.max_epochs=1",
    "encode.backend=torch",
    "recipe.cached_augmentations=2",
    "recipe.folds=0",
]


def run_example(name: str, words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CONSPECIFIC_CACHE", str(folder / "cache"))
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_train_and_search(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_folder({"robin": 8, "wren": 8, "dunnock": 8}, size=(64, 64))
    query = str(folder / "wren" / "00.png")
    run_example("train_and_search.py", [str(folder), query, *TINY], tmp_path, monkeypatch)
    first, *answers = capsys.readouterr().out.splitlines()[-6:]
    assert first == query
    assert answers[0].split() == ["1.000", "wren", query]
    assert len({answer.split()[2] for answer in answers}) == 5


def test_reidentification(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encounters = {f"{name}/{day}": 3 for name in "abcdefgh" for day in ("monday", "friday")}
    folder = make_folder(encounters, size=(64, 64), name="individuals")
    run_example("reidentification.py", [str(folder), *TINY], tmp_path, monkeypatch)
    frames, again, recall, _ = capsys.readouterr().out.splitlines()[-4:]
    assert frames == "24 frames of individuals that were not trained on"
    assert again.startswith("known again from another encounter: ")
    assert recall.startswith("recall@1, before and after training: ")


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # in Lightning, under torch 2.15
@pytest.mark.filterwarnings("default")  # Lightning's advice on loaders and progress bars is for the user of a loop
def test_own_training_loop(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder({"robin": 8, "wren": 8, "dunnock": 8}, size=(64, 64))
    monkeypatch.setattr(sys, "argv", ["own_training_loop.py", str(folder), "1"])
    runpy.run_path(str(EXAMPLES / "own_training_loop.py"), run_name="__main__")
    last = capsys.readouterr().out.splitlines()[-1]
    names = [part.split()[0] for part in last.split(", ")]
    assert "recall@1" in names and "map@r" in names
    assert all(0 <= float(part.split()[1]) <= 1 for part in last.split(", "))
