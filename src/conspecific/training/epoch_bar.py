"""Progress within an epoch."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import Progress

from conspecific.progress import progress_bar


class EpochBar(ProgressBar):
    """One progress bar for each epoch, removed when its last batch is done. title: what comes before its number."""

    def __init__(self, console: Console, title: str = "Epoch") -> None:
        super().__init__()
        self.console, self.title = console, title
        self.bar: Progress | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar = progress_bar(self.console)
        self.bar.add_task(self._epoch(trainer), total=self.total_train_batches)
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        if self.bar is not None:
            description = f"{self._epoch(trainer)}, loss {float(outputs['loss']):.3f}"
            self.bar.update(self.bar.task_ids[0], advance=1, description=description)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _epoch(self, trainer: pl.Trainer) -> str:
        return f"{self.title} {trainer.current_epoch + 1} of {trainer.max_epochs}"

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
