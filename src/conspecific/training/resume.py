"""Continuing a run that was interrupted, or a finished one with more epochs."""

import pickle
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch
from rich.console import Console

from conspecific.config.schema import TrainConfig
from conspecific.errors import RunError
from conspecific.files import write_whole
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import has_ended, read_config, read_environment, read_splits
from conspecific.training.fine_tuner import FineTuner

Checkpoint = dict[str, Any]
PARTS = frozenset({"epoch", "global_step", "callbacks", "state_dict"})  # that are used here


class LastCheckpoint(NamedTuple):
    """The checkpoint that a run is resumed from, and its content."""

    file: Path
    content: Checkpoint

    @property
    def epochs(self) -> int:
        """How many epochs had ended when it was written."""
        return int(self.content["epoch"]) + 1


def checkpoint_to_resume(config: TrainConfig, console: Console) -> LastCheckpoint | None:
    """Return the newest whole checkpoint of the run that `resume` names, None where `resume` is null.

    A checkpoint that is damaged is named. Raises RunError where none is whole, or the run has ended.
    """
    if config.resume is None:
        return None
    run, wanted = RunDirectory(Path(config.resume).expanduser()), config.trainer["max_epochs"]
    read_environment(run)  # a record of another version is refused here
    checkpoint = _newest_whole(run, console)
    done = checkpoint.epochs
    if done > wanted or (done == wanted and has_ended(run)):
        raise RunError(
            f"{run.path} has finished {done} epochs, and trainer.max_epochs is {wanted}: set a larger one to continue"
        )
    if not run.start.is_file():
        raise RunError(f"{run.start} is missing, the weights before training, which selection needs: start a new run")
    return checkpoint


def _newest_whole(run: RunDirectory, console: Console) -> LastCheckpoint:
    damage = []
    for file in (run.last, run.best):
        try:
            found = LastCheckpoint(file, read_checkpoint(file))
        except RunError as error:
            damage.append(str(error))
            continue
        if damage:
            told = f"{damage[0]}. The run goes on from {file.name}, after epoch {found.epochs}."
            console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)
        return found
    raise RunError(f"{run.path} cannot be resumed: {'; '.join(damage)}. Start a new run.")


def is_scored(config: TrainConfig) -> bool:
    """Whether the run that `resume` names was scored on its test, and only what comes after that was cut off."""
    if config.resume is None:
        return False
    run = RunDirectory(Path(config.resume).expanduser())
    same_epochs = read_config(run).trainer["max_epochs"] == config.trainer["max_epochs"]
    return same_epochs and run.summary.is_file() and not has_ended(run)


def require_same_images(run: RunDirectory, splits: pl.DataFrame) -> None:
    """Raise RunError where images, species or splits are not those that the run was started with."""
    before, now = read_splits(run).sort("path"), splits.sort("path")
    if before.equals(now):
        return
    both = before.join(now, on="path", suffix="_now")
    changed = both.filter(pl.any_horizontal(pl.col(name) != pl.col(f"{name}_now") for name in before.columns[1:]))
    raise RunError(
        f"the data of {run.path} changed since it was started: {now.height - both.height} images are new, "
        f"{before.height - both.height} are gone, {changed.height} have another content, species or split. Restore "
        "the data to continue, or start a new run."
    )


def read_checkpoint(file: Path, needed: Collection[str] = PARTS) -> Checkpoint:
    """Read a checkpoint of Lightning, which may hold tensors and plain containers only. needed: its keys.

    Raises RunError where it is missing or damaged; torch reads past bytes that changed, so checksums are compared.
    """
    if not file.is_file():
        raise RunError(f"{file} is missing")
    try:
        with zipfile.ZipFile(file) as parts:
            if changed := parts.testzip():
                raise ValueError(f"the checksum of {changed} in it differs")
        checkpoint: Checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        if missing := set(needed) - checkpoint.keys():
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except (OSError, ValueError, RuntimeError, AttributeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise RunError(f"{file} is damaged, or no checkpoint: {' '.join(str(error).split())[:200]}") from error
    return checkpoint


def load_checkpoint(module: FineTuner, file: Path) -> Checkpoint:
    """Load all weights of a checkpoint into the module and return it. Raises RunError where they do not fit."""
    checkpoint = read_checkpoint(file)
    load_state(module, LastCheckpoint(file, checkpoint))
    return checkpoint


def load_state(module: FineTuner, checkpoint: LastCheckpoint) -> None:
    """Load all weights of a checkpoint that was read. Raises RunError where they do not fit the module."""
    try:
        module.load_state_dict(checkpoint.content["state_dict"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(
            f"{checkpoint.file} belongs to another model, loss or set of species than this run's. {reason}"
        ) from error


def update_paths(checkpoint: LastCheckpoint) -> None:
    """Rewrite the paths in the checkpoint of a run that was moved: Lightning would forget which epoch was the best."""
    file, content = checkpoint
    here, moved = str(file.parent.resolve()), False
    for state in content["callbacks"].values():
        old = state.get("dirpath", here)
        if old != here:
            moved = True
            state |= {key: _replaced(value, old, here) for key, value in state.items()}
    if moved:
        with write_whole(file) as temporary:
            torch.save(content, temporary)


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    return {_replaced(key, old, new): item for key, item in value.items()} if isinstance(value, dict) else value
