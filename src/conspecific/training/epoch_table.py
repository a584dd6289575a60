"""What training prints: a live table on a terminal, one line for each epoch in a file."""

from collections.abc import Mapping

import numpy as np
import polars
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from rich.console import Console
from rich.live import Live
from rich.table import Table

from conspecific.evaluation.compare import paired_values
from conspecific.evaluation.tables import EpochRow, epoch_line, epochs_table
from conspecific.metrics import Interval, paired_intervals
from conspecific.runs.record import read_epochs
from conspecific.training.epoch_record import EpochRecord
from conspecific.training.pruning import Pruning
from conspecific.types import EvalResult

METRICS = ("recall@1", "precision@10", "map@r")
LINES_BESIDE_ROWS = 10  # title, header, progress bars, and the line of the prompt


class EpochTable(Callback):
    """Prints each epoch after its line was recorded.

    On a terminal it is a table that is updated in place and printed once more, whole, when training ends or fails. In a
    file or a pipe it is a line for each epoch.
    """

    def __init__(self, record: EpochRecord, references: Mapping[str, EvalResult], console: Console) -> None:
        """references: results on validation, by name; gains are over the one with the higher monitored metric."""
        self.record, self.console, self.monitor = record, console, record.retrieval.monitor
        self.reference = max(references, key=lambda name: references[name].metrics[self.monitor])
        self.reference_result = references[self.reference]
        self.rows: list[EpochRow] = []
        self.live: Live | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs, line = trainer.max_epochs or 0, self.record.last
        assert line is not None, "the line of this epoch was recorded"
        seconds = [*(row.seconds for row in self.rows), line.seconds or 0.0]
        left = float(np.mean(seconds)) * (epochs - line.epoch)
        rate = max(self.record.rates.values())
        self.rows.append(EpochRow(line.epoch, line.loss, line.metrics, self._gain(), rate, seconds[-1], left))
        if self.live is not None:
            self.live.update(self._table(self.console.height - LINES_BESIDE_ROWS), refresh=True)
        else:
            best = self._best() == line.epoch
            text = epoch_line(self.rows[-1], epochs, self._metrics(), self.reference, best)
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish()
        if self.rows and self.rows[-1].epoch != trainer.max_epochs:
            self.console.print(
                f"Training stopped after epoch {self.rows[-1].epoch} of {trainer.max_epochs}: {why_stopped(trainer)}. "
                f"The best is epoch {self._best()}.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        exception: BaseException,
    ) -> None:
        self._finish()

    def _finish(self) -> None:
        """Replace the live table by the whole one, which stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None
            if self.rows:
                self.console.print(self._table(len(self.rows)), "")

    def _table(self, height: int) -> Table:
        """The last rows that fit into `height` lines, and always the best one."""
        best, shown = self._best(), max(1, height)
        rows = self.rows[-shown:]
        if len(rows) < len(self.rows) and best not in [row.epoch for row in rows]:
            rows = [row for row in self.rows if row.epoch == best] + rows[1:]
        title = f"Validation after each epoch; gain in {self.monitor} over the {self.reference} reference"
        return epochs_table(title, rows, self._metrics(), best)

    def _metrics(self) -> list[str]:
        """The columns: a few metrics, and the monitored one in any case."""
        found = [name for name in METRICS if name in self.reference_result.metrics]
        return found if self.monitor in found else [*found, self.monitor]

    def _best(self) -> int:
        """The epoch with the highest monitored metric, the first of equals, among those before a resumption too."""
        lines = read_epochs(self.record.run)
        return max(lines, key=lambda line: line.metrics[self.monitor]).epoch

    def _gain(self) -> Interval | None:
        """The paired difference of the monitored metric to the better reference; None for a single species."""
        result = self.record.retrieval.result
        assert result is not None, "the retrieval callback has scored this epoch"
        if not self.record.gains:
            return None
        if self.reference_result is self.record.flatten:  # its bootstrap was done for the record
            return next(gain.interval for gain in self.record.gains if gain.metric == self.monitor)
        queries, values, before = paired_values(result.per_query, self.reference_result.per_query, [self.monitor])
        groups = _groups(queries["label"]) if result.facts.get("protocol") == "unseen" else None
        return paired_intervals(values - before, groups)[0]


def _groups(labels: polars.Series) -> np.ndarray:
    return labels.rank("dense").to_numpy().astype(np.int64)


def why_stopped(trainer: pl.Trainer) -> str:
    """Say why training ended before its last epoch."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            if callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED:
                return f"{callback.monitor} has not improved for {callback.patience} epochs (early stopping)"
            return f"early stopping: {callback.stopping_reason_message}"
        if isinstance(callback, Pruning) and callback.has_pruned:
            return "the pruner of the sweep stopped this trial"
    return "a limit of the trainer was reached"
