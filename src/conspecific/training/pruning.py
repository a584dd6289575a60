"""Trials of a sweep that fall behind are stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.errors import ConfigError, did_you_mean


class Trial(Protocol):
    """What is asked of a sweep's trial; Optuna's have it."""

    def report(self, value: float, step: int) -> None:
        """Take the score after an epoch."""

    def should_prune(self) -> bool:
        """Whether what was reported is not worth going on with."""


@dataclass
class Watched:
    """The trial that a run is. pruned_after: the epoch it was stopped after, None where it had all of them."""

    trial: Trial
    pruned_after: int | None = None


_watched: ContextVar[Watched | None] = ContextVar("watched", default=None)


@contextmanager
def watched(trial: Trial) -> Iterator[Watched]:
    """Inside, `Pruning` reports to this trial."""
    watch = Watched(trial)
    token = _watched.set(watch)
    try:
        yield watch
    finally:
        _watched.reset(token)


class Pruning(Callback):
    """Reports the monitored validation metric after every epoch, and stops the trial when the sweep's pruner says so.

    The epochs it had are scored, tested and reported as those of any run. In a run that is no trial of a sweep, as one
    that was resumed, it does nothing.
    """

    def __init__(self, monitor: str) -> None:
        """monitor: as it is logged, `val/map@r`."""
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        watch, metrics = _watched.get(), trainer.callback_metrics
        if watch is None:
            return
        if self.monitor not in metrics:
            near = did_you_mean(self.monitor, map(str, metrics))
            raise ConfigError(f"callbacks.pruning.monitor={self.monitor} is not logged. {near}")
        epoch = trainer.current_epoch + 1
        watch.trial.report(float(metrics[self.monitor]), epoch)
        if epoch != trainer.max_epochs and watch.trial.should_prune():
            watch.pruned_after, trainer.should_stop = epoch, True
