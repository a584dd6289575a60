"""One tiny run, trained once for all tests of the commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conspecific.cli.main import main
from conspecific.config.overrides import override
from conspecific.runs.directory import RunDirectory

COMMAND = "import sys; from conspecific.cli.main import main; sys.exit(main())"
DIFFICULT = "a[1] {x,y} why? b*"


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides of a training of seconds: six species of eight small butterflies, two epochs.

    With its own number of dimensions, the pooled reference is not kept, whatever the few validation images say. It has
    no folds, which would train it four times.
    """
    return [
        "recipe.folds=0",
        "model.dimensions=512",
        "data.species=6",
        "data.images=8",
        "data.size=96",
        "loader.image_size=96",
        "loader.train_size=96",
        "loader.classes_per_batch=4",
        "loader.samples_per_class=2",
        "loader.workers=0",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=2",
    ]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the drawn images and the baselines of these tests are kept."""
    return _difficult(tmp_path_factory.mktemp("cache"))


def _difficult(folder: Path) -> Path:
    """A folder whose name is a pattern to programs that take paths for such."""
    (folder / DIFFICULT).mkdir()
    return folder / DIFFICULT


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory, tiny: list[str], cache: Path) -> CompletedProcess[str]:
    """The tiny training, in a process of its own and in a folder without a checkout."""
    environment = {**os.environ, "CONSPECIFIC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    folder = _difficult(tmp_path_factory.mktemp("work"))
    place = override("hydra.run.dir", str(folder / "run"))
    command = [sys.executable, "-c", COMMAND, "train", "experiment=default", place, *tiny]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def run(training: CompletedProcess[str]) -> RunDirectory:
    """The run directory of the tiny training. Tests read it; what they change, they copy first."""
    assert training.returncode == 0, training.stderr
    [report] = [line for line in training.stdout.splitlines() if line.startswith("Report: ")]
    return RunDirectory(Path(report.removeprefix("Report: ")).parent)


@pytest.fixture
def with_network() -> None:
    """For tests of indexes that hold their network."""


@pytest.fixture(autouse=True)
def without_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes hold no network, which takes seconds to write, except in tests that use `with_network`."""
    if "with_network" not in request.fixturenames:
        monkeypatch.setattr("conspecific.runs.gallery.can_write", lambda: False)
        monkeypatch.setattr("conspecific.runs.kept_index.can_write", lambda: False)


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that is the home too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONSPECIFIC_CACHE", str(cache))
    monkeypatch.delenv("CONSPECIFIC_RUNS", raising=False)
    return tmp_path


@pytest.fixture
def conspecific(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., CompletedProcess[str]]:
    """Return a function that runs a command in this process and in the empty directory."""

    def call(*arguments: str | Path) -> CompletedProcess[str]:
        given = [str(argument) for argument in arguments]
        capfd.readouterr()
        status = main(given)
        return CompletedProcess(given, status, *capfd.readouterr())

    return call
