"""Trials of a sweep that score lower than the others are stopped early."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.errors import ConfigError, did_you_mean


class Trial(Protocol):
    """What `Pruning` needs of a trial; Optuna's trials have it."""

    def report(self, value: float, step: int) -> None:
        """Take the score after an epoch."""

    def should_prune(self) -> bool:
        """Whether the scores reported so far are too low to continue."""


@dataclass
class Watched:
    """A run that is a trial of a sweep. pruned_after: the epoch after which it was stopped, None where it was not."""

    trial: Trial
    pruned_after: int | None = None


_watched: ContextVar[Watched | None] = ContextVar("watched", default=None)


@contextmanager
def watched(trial: Trial) -> Iterator[Watched]:
    """Have `Pruning` report to this trial inside the block."""
    watch = Watched(trial)
    token = _watched.set(watch)
    try:
        yield watch
    finally:
        _watched.reset(token)


class Pruning(Callback):
    """Reports the monitored validation metric after every epoch, and stops the trial when the pruner asks for it.

    A trial that was stopped is tested and reported like any run. In a run that is not a trial of a sweep, such as one
    that was resumed, this callback does nothing.
    """

    def __init__(self, monitor: str) -> None:
        """monitor: the name under which the metric is logged, such as `val/map@r`."""
        self.monitor, self.has_pruned = monitor, False

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
            watch.pruned_after, trainer.should_stop, self.has_pruned = epoch, True, True
