"""Experiment loggers that never stop a run."""

import importlib.util
import netrc
import os
from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

from conspecific.errors import ConfigError


def wandb_logger(project: str, name: str, save_dir: str) -> WandbLogger:
    """Weights & Biases, offline unless a key is set; each job of a multirun is a run of its own."""
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbLogger(
        project=project, name=name, save_dir=save_dir, offline=not _has_wandb_key(), reinit="finish_previous"
    )


def tensorboard_logger(save_dir: str) -> TensorBoardLogger:
    """TensorBoard event files in `save_dir`/tensorboard. Raises ConfigError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("logger=tensorboard needs TensorBoard: pip install 'conspecific[tensorboard]'")
    return TensorBoardLogger(save_dir, name="tensorboard", version="")


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):  # no file, or one that is not ours to mend
        return False
    return any("wandb" in host for host in hosts)
