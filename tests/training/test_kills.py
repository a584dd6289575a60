"""A run that is killed, or finds the disk full, while it writes goes on as if nothing had happened."""

import csv
import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.errors import RunError
from conspecific.files import write_checked_json
from conspecific.reading import read_json
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, has_ended, read_epochs
from conspecific.training import train as training
from conspecific.training.metrics_file import METRICS
from conspecific.training.resume import checkpoint_to_resume, read_checkpoint

TrainTiny = Callable[..., RunRecord | None]


class Killed(BaseException):
    """The process ends: nothing catches it."""


@pytest.fixture(scope="module")
def whole(train_tiny: TrainTiny, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that nothing disturbed, without a report."""
    run = RunDirectory(tmp_path_factory.mktemp("whole"))
    train_tiny(run.path)
    return run


def content(run: RunDirectory) -> dict[str, object]:
    """What must not depend on kills: weights, every result, the epochs without their times, and the steps logged."""
    results = {path.name: path.read_bytes() for path in run.results.iterdir() if path.suffix == ".json"}
    epochs = [replace(epoch, seconds=None) for epoch in read_epochs(run)]
    with (run.path / "logs/csv/metrics.csv").open() as file:
        columns = ("step", "train/loss_step", "val/map@r", "test/map@r")
        rows = [tuple(row[name] for name in columns) for row in csv.DictReader(file)]
        logged = [row for row in rows if any(row[1:])]
    return {"weights": run.weights.read_bytes(), "epochs": epochs, "logged": logged, **results}


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(
    whole: RunDirectory, tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process ends at the renaming of a file, by a kill or a full disk, each some files later than the last.

    After one of them the last checkpoint is cut in half, as a copy from another file system would be. The images are
    read in another process, unlike those of the whole run, which changes no bit either.
    """
    run, plain, left, ends = RunDirectory(tmp_path), Path.replace, [0], 0

    def rename(path: Path, target: Path) -> Path:
        if target.name == METRICS:  # written after the checkpoint of its epoch: a kill here would lose a row
            return plain(path, target)
        left[0] -= 1
        if left[0] == 0:
            raise Killed if ends % 2 else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return plain(path, target)

    monkeypatch.setattr(Path, "replace", rename)
    while not has_ended(run):
        left[0] = 12 + 3 * ends
        try:
            train_tiny(run.path, "loader.workers=1", *([f"resume={run.path}"] if run.can_resume else []))
        except (Killed, OSError):
            ends += 1
        assert not list(run.path.rglob(".partial-*"))
        for file in run.checkpoints.glob("*.ckpt"):
            read_checkpoint(file)
        if ends == 2:
            os.truncate(run.last, run.last.stat().st_size // 2)
    assert ends >= 3
    assert content(run) == content(whole)


def test_a_run_cut_off_in_its_report_is_reported_and_not_trained_again(
    whole: RunDirectory, tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(Path(shutil.copytree(whole.path, tmp_path / "run")))
    write_checked_json(run.summary, {**read_json(run.summary), "ended": False})
    monkeypatch.setattr(training, "train_and_test", lambda *_: pytest.fail("it is trained again"))
    reported: list[RunRecord] = []
    record = train_tiny(run.path, f"resume={run.path}", report=reported.append)
    assert record is not None and [each.path for each in reported] == [run.path]
    assert record.cost.seconds["training"] > 0, "the time of the processes before is counted"
    assert has_ended(run) and content(run) == content(whole)
    with pytest.raises(RunError, match="has finished 3 epochs, and trainer"):
        train_tiny(run.path, f"resume={run.path}")


def test_a_run_that_goes_on_has_not_ended(
    whole: RunDirectory, tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary of three epochs would be taken for that of four, were the fourth cut off."""
    run = RunDirectory(Path(shutil.copytree(whole.path, tmp_path / "run")))
    monkeypatch.setattr(training, "train_and_test", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        train_tiny(run.path, "trainer.max_epochs=4", f"resume={run.path}")
    assert not run.summary.exists() and run.can_resume


def test_a_damaged_checkpoint_is_named_and_the_other_taken(whole: RunDirectory, tmp_path: Path) -> None:
    run, told = RunDirectory(Path(shutil.copytree(whole.path, tmp_path / "run"))), io.StringIO()
    run.summary.unlink()
    config = typed(compose_config("train", [f"resume={run.path}"]), TrainConfig)
    changed = bytearray(run.last.read_bytes())
    changed[len(changed) // 2] ^= 1
    for damage in (changed, b"", b"no checkpoint", changed[:-100]):
        run.last.write_bytes(damage)
        found = checkpoint_to_resume(config, Console(file=told, width=500))
        assert found is not None and found.file == run.best
        assert told.getvalue().splitlines()[-1].startswith(f"{run.last} is damaged, or no checkpoint: ")
        assert told.getvalue().splitlines()[-1].endswith(f"goes on from best.ckpt, after epoch {found.epochs}.")
    run.best.write_bytes(b"")
    with pytest.raises(RunError, match=r"cannot be resumed: .*last\.ckpt is damaged.*best\.ckpt is damaged.* new run"):
        checkpoint_to_resume(config, Console(file=told))
