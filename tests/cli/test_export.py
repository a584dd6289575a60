"""export, on what a run left behind."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_record

Command = Callable[..., CompletedProcess[str]]


def test_export_compares_with_torch_and_describes_the_run(conspecific: Command, run: RunDirectory) -> None:
    done = conspecific("export", run.path, "format=timm", "output=out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cosine to torch on 24 of 24 test images: mean 1.00000, lowest 1.00000" in done.stdout
    parity, record = json.loads(Path("out/parity.json").read_text()), read_record(run.path)
    for name in ("recall@1", "map@r"):
        assert parity["torch"][name] == pytest.approx(record.test["model"].metrics[name], abs=1e-6)
        assert parity["exported"][name] == pytest.approx(parity["torch"][name], abs=0.05)
    card = Path("out/README.md").read_text()
    assert f"| map@r | {record.test['flatten'].metrics['map@r']:.3f} |" in card
    assert f"**{record.test['model'].metrics['map@r']:.3f}** (" in card
    assert "None of 48 images is in more than one of the training, validation and test splits." in card
    assert "| protocol | seen: every species is in the training split and in the test split |" in card
    assert str(run.path.parent) not in card, "it may be published"


def test_export_compares_some_of_the_images(conspecific: Command, run: RunDirectory) -> None:
    done = conspecific("export", run.path, "format=timm", "output=out", "images=12")
    assert "cosine to torch on 12 of 24 test images" in done.stdout
    assert "recall@1" in done.stdout
    done = conspecific("export", run.path, "format=timm", "output=out", "images=6")
    assert "cosine to torch on 6 of 24 test images" in done.stdout
    assert "recall@1" not in done.stdout, "one image a species: none can be found"
