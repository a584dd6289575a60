"""The callback the project is about: after every epoch, search, score, and set beside the baseline."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.config.run_directory import RunDirectory
from conspecific.evaluation import Evaluator
from conspecific.evaluation.tables import epoch_table
from conspecific.metrics import METRICS
from conspecific.training.module import FineTuner
from conspecific.types import EvalResult


class RetrievalCallback(Callback):
    """Embeds the validation pictures each epoch, searches them with FAISS, and reports beside the references.

    Logs `val/METRIC` and `val/METRIC_gain` (over the flatten baseline), prints a table, and writes a JSON line an epoch
    to the run's record.
    """

    def __init__(self, evaluator: Evaluator, references: Mapping[str, EvalResult], run: RunDirectory) -> None:
        self.evaluator, self.references, self.run = evaluator, references, run

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuner)
        epoch = trainer.current_epoch + 1
        evaluator = replace(self.evaluator, device=pl_module.device)  # the model stays where the trainer put it
        metrics = evaluator.score({"model": pl_module.embedder}, "val", f"Scoring epoch {epoch}")["model"].metrics
        baseline = self.references["flatten"].metrics
        pl_module.log_dict({f"val/{name}": metrics[name] for name in METRICS})
        pl_module.log_dict({f"val/{name}_gain": metrics[name] - baseline[name] for name in METRICS})
        self._write(epoch, float(trainer.callback_metrics["train/loss_epoch"]), metrics)
        self._print(epoch, trainer.max_epochs, metrics)

    def _write(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """Append the epoch; a resumed run first drops what lies after its checkpoint."""
        lines = [line for line in self.run.read_epochs() if line["epoch"] < epoch]
        lines.append({"epoch": epoch, "loss": loss, **metrics})
        partial = self.run.epochs.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
        partial.replace(self.run.epochs)

    def _print(self, epoch: int, epochs: int | None, metrics: Mapping[str, float]) -> None:
        name = f"epoch {epoch}"
        rows = {label: reference.metrics for label, reference in self.references.items()} | {name: metrics}
        title = f"Validation after epoch {epoch} of {epochs}; difference to the flatten baseline"
        self.evaluator.console.print(epoch_table(title, rows, baseline="flatten", model=name), "")
