"""The callback the project is about: after every epoch, search, score, and set beside the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.errors import TrainingError
from conspecific.evaluation import Difference, Evaluator, compare
from conspecific.evaluation.tables import epoch_table
from conspecific.metrics import Geometry
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, append_epoch, read_epochs
from conspecific.training.fine_tuner import FineTuner
from conspecific.types import EvalResult


class RetrievalCallback(Callback):
    """Embeds the validation images each epoch, searches them with FAISS, and reports beside the references.

    Logs `val/METRIC` and `val/METRIC_gain` (over the flatten baseline), prints a table with intervals, writes a JSON
    line an epoch to the run's record, and keeps the result of the epoch that `monitor` calls the best so far.
    """

    def __init__(
        self, evaluator: Evaluator, references: Mapping[str, EvalResult], run: RunDirectory, monitor: str
    ) -> None:
        self.evaluator, self.references, self.run, self.monitor = evaluator, references, run, monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuner)
        epoch = trainer.current_epoch + 1
        if not all(bool(parameter.isfinite().all()) for parameter in pl_module.eval_embedder.parameters()):
            raise self._lost("the weights are no numbers any more", epoch)
        evaluator = replace(self.evaluator, device=pl_module.device)  # the model stays where the trainer put it
        result = evaluator.score({"model": pl_module.eval_embedder}, "val", f"Scoring epoch {epoch}")["model"]
        baseline = self.references["flatten"]
        pl_module.log_dict({f"val/{name}": value for name, value in result.metrics.items()})
        pl_module.log_dict(
            {f"val/{name}_gain": value - baseline.metrics[name] for name, value in result.metrics.items()}
        )
        # one species cannot be drawn again: no interval then
        gains = compare(result, baseline) if result.facts["species"] > 1 else []
        self._write(epoch, float(trainer.callback_metrics["train/loss_epoch"]), result, gains)
        self._print(epoch, trainer.max_epochs, result, gains)
        self._stop_if_lost(epoch, result)

    def _write(self, epoch: int, loss: float, result: EvalResult, gains: Sequence[Difference]) -> None:
        """Append the epoch; a resumed run first drops what lies after its checkpoint."""
        lines = [line for line in read_epochs(self.run) if line.epoch < epoch]
        if all(result.metrics[self.monitor] > line.metrics[self.monitor] for line in lines):
            replace(result, facts={**result.facts, "epoch": epoch}).save(self.run.results / "val_model")
        intervals = {gain.metric: [gain.interval.low, gain.interval.high] for gain in gains}
        append_epoch(self.run, Epoch(epoch, loss, result.metrics, intervals))

    def _print(self, epoch: int, epochs: int | None, result: EvalResult, gains: Sequence[Difference]) -> None:
        rows = {label: reference.metrics for label, reference in self.references.items()}
        title = f"Validation after epoch {epoch} of {epochs}; gain over the flatten baseline"
        table = epoch_table(
            title, rows | {f"epoch {epoch}": result.metrics}, {gain.metric: gain.interval for gain in gains}
        )
        self.evaluator.console.print(table, "")

    def _stop_if_lost(self, epoch: int, result: EvalResult) -> None:
        """Stop before this epoch's checkpoint is written, so that the last one stays the last good one.

        Lost is an encoder to which all images are nearly the same, or one that lost half of what it once found, fell
        below the baseline, and whose loss doubled: harder batches or larger crops may raise a loss without any harm.
        Raises TrainingError.
        """
        *earlier, this = read_epochs(self.run)
        loss, best = this.loss, max((line.metrics[self.monitor] for line in earlier), default=0.0)
        bad = min(best / 2, self.references["flatten"].metrics[self.monitor])
        what = None
        if Geometry(**result.facts["geometry"]).is_collapsed:
            what = "the embeddings have collapsed: all images are nearly the same to the encoder"
        elif result.metrics[self.monitor] < bad and loss > 2 * min(line.loss for line in earlier):
            what = (
                f"training diverges: validation {self.monitor} fell from {best:.3f} to "
                f"{result.metrics[self.monitor]:.3f} and the loss rose to {loss:.3g}"
            )
        if what is not None:
            raise self._lost(what, epoch)

    def _lost(self, what: str, epoch: int) -> TrainingError:
        earlier = [line.epoch for line in read_epochs(self.run) if line.epoch < epoch]
        kept = f"epoch {earlier[-1]} is the last good checkpoint" if earlier else "no checkpoint was good"
        return TrainingError(
            f"{what} after epoch {epoch}. Lower optimizer.backbone_lr or loss_lr, raise optimizer.warmup_epochs, or "
            f"choose another loss or miner; {kept} in {self.run.checkpoints}"
        )
