"""The Lightning trainer of a configuration."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import TorchCheckpointIO
from pytorch_lightning.strategies import SingleDeviceStrategy

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.errors import ConfigError
from conspecific.files import write_whole


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their target and renames them, so that each is complete or absent.

    Lightning stages them in TMPDIR. Where that is another file system they are copied from there, and a process that is
    killed in between leaves half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        with write_whole(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)  # Lightning's takes a path for a pattern


def build_trainer(config: TrainConfig, **arguments: Any) -> pl.Trainer:
    """Build the trainer that the group `trainer` describes, with further arguments of `pl.Trainer`.

    Raises ConfigError where Lightning refuses them, as it does `trainer.accelerator=gpu` on a machine without one.
    """
    options = {**config.trainer, "precision": precision_of(config), "plugins": [WholeCheckpoints()]}
    trainer: pl.Trainer = build(options, "trainer", config.allow, **arguments)
    return trainer


def precision_of(config: TrainConfig) -> Any:
    """Return `trainer.precision`, with `auto` resolved: bf16-mixed on a GPU that supports it, else 32-true."""
    asked = config.trainer.get("precision", "auto")
    if asked != "auto":
        return asked
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if bf16 else "32-true"


def require_one_device(config: TrainConfig) -> None:
    """Raise ConfigError where training would run in several processes: each would draw and write the same.

    A trainer is built to find out, because Lightning resolves `devices=auto` and `strategy=auto` itself.
    """
    trainer = build_trainer(config, logger=False, enable_checkpointing=False)
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        keys = ("devices", "num_nodes", "strategy")
        asked = ", ".join(f"trainer.{name}={config.trainer[name]}" for name in keys if name in config.trainer)
        raise ConfigError(
            f"distributed training is not supported: {asked} means {type(trainer.strategy).__name__} on "
            f"{trainer.world_size} devices here. Set trainer.devices=1 trainer.num_nodes=1 trainer.strategy=auto"
        )


def best_checkpoint(trainer: pl.Trainer) -> Path:
    """Return the checkpoint of the best epoch. Raises ConfigError where no callback kept one."""
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        raise ConfigError(
            "no checkpoint was kept: no epoch ended, or callbacks has no ModelCheckpoint that monitors a val/ metric"
        )
    return Path(path)
