"""Continuing a run that was interrupted, or a finished one with more epochs."""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch

from conspecific.config.schema import TrainConfig
from conspecific.errors import RunError
from conspecific.files import write_whole
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_environment, read_splits
from conspecific.training.fine_tuner import FineTuner

Checkpoint = dict[str, Any]


class LastCheckpoint(NamedTuple):
    """The checkpoint that a run is resumed from, and its content."""

    file: Path
    content: Checkpoint


def checkpoint_to_resume(config: TrainConfig) -> LastCheckpoint | None:
    """Return the last checkpoint of the run that `resume` names, None where `resume` is null.

    Raises RunError where it has no checkpoint, or has finished all its epochs and was scored.
    """
    if config.resume is None:
        return None
    run = RunDirectory(Path(config.resume).expanduser())
    read_environment(run)  # a record of another version is refused here
    file, wanted = run.checkpoints / "last.ckpt", config.trainer["max_epochs"]
    if not file.is_file():
        raise RunError(f"{run.path} cannot be resumed: it has no checkpoints/{file.name}. Start a new run.")
    checkpoint = read_checkpoint(file)
    done = checkpoint["epoch"] + 1
    if done > wanted or (done == wanted and run.summary.is_file()):
        raise RunError(
            f"{run.path} has finished {done} epochs, and trainer.max_epochs is {wanted}: set a larger one to continue"
        )
    if not run.start.is_file():
        raise RunError(f"{run.start} is missing, the weights before training, which selection needs: start a new run")
    return LastCheckpoint(file, checkpoint)


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


def read_checkpoint(file: Path) -> Checkpoint:
    """Read a checkpoint of Lightning, which may hold tensors and plain containers only."""
    checkpoint: Checkpoint = torch.load(file, map_location="cpu", weights_only=True)
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
