"""Experiment loggers that never stop a run."""

import importlib.util
import netrc
import os
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from rich.console import Console

from conspecific.errors import ConfigError


class FailSafeLogger(Logger):
    """A logger that fails once: it says so, is left out from there on, and the run goes on."""

    def __init__(self, logger: Logger, label: str, console: Console) -> None:
        super().__init__()
        self.logger, self.label, self.console, self.works = logger, label, console, True

    @property
    def name(self) -> str:
        return self.label

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._try(lambda: self.logger.log_metrics(dict(metrics), step))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        self._try(lambda: self.logger.log_hyperparams(params))

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        self._try(lambda: self.logger.after_save_checkpoint(checkpoint_callback))

    def save(self) -> None:
        self._try(self.logger.save)

    def finalize(self, status: str) -> None:
        self._try(lambda: self.logger.finalize(status))

    def _try(self, action: Callable[[], Any]) -> None:
        if not self.works:
            return
        try:
            action()
        except Exception as error:  # whatever a tracker, its server or its disk come up with
            self.works = False
            told = f"{type(error).__name__}: {error}"
            self.console.print(f"logger.{self.label} failed and is left out from here on. {told}", style="yellow")


class WandbRun(WandbLogger):
    """Lightning's logger hands a run that is still open to the next job of a multirun; this one closes it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # wandb warns of it, though it is None

    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None


def wandb_logger(project: str, name: str, save_dir: str) -> WandbLogger:
    """Weights & Biases, offline unless a key or WANDB_MODE is set; each job of a multirun is a run of its own."""
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_SILENT", "true")
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
    return WandbRun(project=project, name=name, save_dir=save_dir, mode=mode, reinit="finish_previous")


def tensorboard_logger(save_dir: str) -> TensorBoardLogger:
    """TensorBoard event files in `save_dir`/tensorboard. Raises ConfigError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("logger=tensorboard needs TensorBoard: pip install -e '.[tensorboard]' in the clone")
    return TensorBoardLogger(save_dir, name="tensorboard", version="", default_hp_metric=False)


def csv_logger(save_dir: str) -> CSVLogger:
    """`save_dir`/csv/metrics.csv. Lightning begins the file anew; a resumed run goes on with the one it has."""
    logger = CSVLogger(save_dir, name="csv", version="")
    file = Path(logger.log_dir) / "metrics.csv"
    if file.is_file():
        before = file.read_text()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Previous log files in this directory will be deleted")
            writer = logger.experiment
        file.write_text(before)
        writer.metrics_keys = before.partition("\n")[0].strip().split(",")
    return logger


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):  # no file, or one that is not ours to mend
        return False
    return any("wandb" in host for host in hosts)
