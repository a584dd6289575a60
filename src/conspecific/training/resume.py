"""Going on with a run that was cut off, or with a finished one to more epochs."""

from pathlib import Path
from typing import Any

import torch

from conspecific.config.schema import TrainConfig
from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.training.fine_tuner import FineTuner

Checkpoint = dict[str, Any]


def checkpoint_to_resume(config: TrainConfig) -> Path | None:
    """Return the checkpoint that `resume` means, None where it means none.

    Raises RunError where there is none, or where the run has all its epochs behind it and was scored.
    """
    if config.resume is None:
        return None
    run = RunDirectory(Path(config.resume).expanduser())
    file, wanted = run.checkpoints / "last.ckpt", config.trainer["max_epochs"]
    if not file.is_file():
        raise RunError(f"{run.path} cannot be resumed: it has no checkpoints/{file.name}. Start anew.")
    checkpoint = read_checkpoint(file)
    done = checkpoint["epoch"] + 1
    if done > wanted or (done == wanted and run.summary.is_file()):
        raise RunError(
            f"{run.path} has {done} epochs behind it, and trainer.max_epochs is {wanted}: give a larger one to go on"
        )
    _bring_home(file, checkpoint)
    return file


def read_checkpoint(file: Path) -> Checkpoint:
    """Read what Lightning wrote; plain containers only."""
    checkpoint: Checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    return checkpoint


def load_checkpoint(module: FineTuner, file: Path) -> Checkpoint:
    """Load the weights of a checkpoint, all of them, and return it. Raises RunError where they do not fit."""
    checkpoint = read_checkpoint(file)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        told = " ".join(str(error).split())[:300]
        raise RunError(f"{file} belongs to another model, loss or set of species than this run's. {told}") from error
    return checkpoint


def _bring_home(file: Path, checkpoint: Checkpoint) -> None:
    """Tell a run that was moved where its checkpoints are now: Lightning would forget which of them was the best."""
    here, moved = str(file.parent.resolve()), False
    for state in checkpoint["callbacks"].values():
        old = state.get("dirpath", here)
        if old != here:
            moved = True
            state |= {key: _replaced(value, old, here) for key, value in state.items()}
    if moved:
        partial = file.with_suffix(".partial")
        torch.save(checkpoint, partial)
        partial.replace(file)


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    return {_replaced(key, old, new): item for key, item in value.items()} if isinstance(value, dict) else value
