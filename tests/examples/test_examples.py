"""The examples run, on small data."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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
