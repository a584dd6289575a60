"""Where nothing can be written, a sentence names the key of the folder."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conspecific.cli import main as command_line
from conspecific.cli import train as command
from conspecific.cli.main import main
from conspecific.runs.directory import RunDirectory

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def file(here: Path) -> Path:
    """A file where a folder is wanted: even root can write nothing below it."""
    (here / "file").write_text("")
    return here / "file"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["train", "paths.runs=file"], "paths.runs"),
        (["train", "paths.runs=file/below/it"], "paths.runs"),
        (["train", "-m", "seed=1,2", "paths.runs=file"], "paths.runs"),
        (["train", "hydra.run.dir=file/run"], "hydra.run.dir"),
        (["train", "paths.cache=file/cache"], "paths.cache"),
        (["evaluate", "RUN", "paths.cache=file"], "paths.cache"),
        (["embed", "RUN", "output=file/embeddings"], "output"),
    ],
    ids=" ".join,
)
def test_a_folder_that_cannot_be_made_is_named_with_its_key(
    words: list[str], key: str, conspecific: Command, file: Path, request: pytest.FixtureRequest
) -> None:
    if "RUN" in words:
        words = [str(request.getfixturevalue("run").path) if word == "RUN" else word for word in words]
    done = conspecific(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {file}")
    assert done.stderr.endswith(f"Set {key} to another place\n")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_a_sentence(conspecific: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(command, "train", write)
    done = conspecific("train")
    assert done.returncode == 2
    assert done.stderr == (
        "error: a file cannot be written: No space left on device. The folders are set by paths.cache, paths.runs, "
        "hydra.run.dir\n"
    )


def test_a_disk_that_fills_up_during_a_run_is_named_with_how_to_go_on(
    conspecific: Command, run: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = RunDirectory(Path(shutil.copytree(run.path, here / "cut")))
    cut.summary.unlink()
    for name in (".", "checkpoints", "results", "images", "logs/csv", "final"):
        (cut.path / name).mkdir(parents=True, exist_ok=True)
        (cut.path / name / ".partial-0123456789ab-x").touch()

    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cut.last))

    monkeypatch.setattr(command, "train", write)
    done = conspecific("train", "resume=cut")
    told = f"{cut.last} cannot be written: No space left on device. Set hydra.run.dir to another place"
    assert (done.returncode, done.stderr) == (2, f"error: {told}; to go on: conspecific train resume={cut.path}\n")
    assert not list(cut.path.rglob(".partial-*")), "what a killed process left is removed"
    assert cut.last.read_bytes() == run.last.read_bytes()


def test_other_errors_of_the_operating_system_are_not_hidden(
    conspecific: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(command, "train", break_down)
    with pytest.raises(OSError, match="Input/output error"):
        conspecific("train")


def test_windows_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command_line.sys, "platform", "win32")
    assert main(["train"]) == 2
    assert capsys.readouterr().err.startswith("error: Windows is not supported: use WSL 2")
