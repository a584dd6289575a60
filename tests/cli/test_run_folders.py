"""Each run and each multirun has a folder of its own. Nothing is trained here."""

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conspecific.cli import train as command
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, start_record

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the runs that were started; starting one writes its configuration and nothing else."""
    folders = []

    def start(config: TrainConfig, overrides: list[str], *_: object) -> None:
        assert config.paths.run is not None
        folders.append(Path(config.paths.run))
        start_record(RunDirectory(folders[-1]), config, overrides, "none")

    monkeypatch.setattr(command, "train", start)
    return folders


def test_runs_of_one_second_have_folders_of_their_own(
    conspecific: Command, begun: list[Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "folder_of_run", lambda *_: here / "runs/train/now")
    for words in ([], [], ["-m", "seed=1,2"]):
        assert conspecific("train", *words).returncode == 0
    names = ("now", "now-2", "now-3/0", "now-3/1")
    assert begun == [here / "runs/train" / name for name in names]


def test_a_folder_that_holds_a_run_is_refused(conspecific: Command, begun: list[Path], here: Path) -> None:
    assert conspecific("train", "hydra.run.dir=mine", "seed=1").returncode == 0
    kept = Path("mine/config.yaml").read_text()
    done = conspecific("train", "hydra.run.dir=mine", "seed=2")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {here}/mine holds a run already: give another hydra.run.dir")
    assert Path("mine/config.yaml").read_text() == kept
    assert conspecific("train", "-m", "hydra.sweep.dir=sweep", "seed=1,2").returncode == 0
    again = conspecific("train", "-m", "hydra.sweep.dir=sweep", "seed=3,4")
    assert again.returncode == 2
    assert f"{here}/sweep/0 holds a run already" in again.stderr


def test_a_run_that_cannot_start_leaves_no_folder(
    conspecific: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(command, "train", refuse)
    for words in ([], ["-m", "seed=1,2"]):
        assert conspecific("train", *words).returncode == 2
    left = [path.name for path in here.rglob("*") if path.is_file()]
    assert left in ([], ["multirun.yaml"]), "Hydra writes the configuration of a multirun"


def test_a_sweep_needs_the_option_for_it(conspecific: Command, here: Path) -> None:
    done = conspecific("train", "experiment=sweep/losses")
    assert done.returncode == 2
    assert done.stderr == ("error: this configuration sweeps loss, which one run cannot do: add -m to run the sweep\n")


def test_the_table_of_a_multirun_has_the_jobs_of_earlier_sessions(
    conspecific: Command, run: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(config: TrainConfig, overrides: list[str], *_: object) -> RunRecord:
        folder = Path(str(config.paths.run))
        shutil.copytree(run.path, folder, dirs_exist_ok=True)
        start_record(RunDirectory(folder), config, overrides, "none")
        return command.read_record(folder)

    monkeypatch.setattr(command, "train", finish)
    assert conspecific("train", "-m", "hydra.sweep.dir=sweep", "seed=1,2").returncode == 0
    done = conspecific("train", "-m", "hydra.sweep.dir=sweep", "seed=3,4", "hydra.sweep.subdir='s${hydra.job.num}'")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines() if "seed=" in line and not line.startswith("Job ")]
    assert [row[:2] for row in rows] == [["s0:", "seed=3"], ["s1:", "seed=4"], ["0:", "seed=1"], ["1:", "seed=2"]]
