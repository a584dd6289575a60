"""The line that each epoch adds to the record of its run."""

import time
from dataclasses import replace

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer

from conspecific.evaluation import Difference, compare
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, append_epoch, read_epochs
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.types import EvalResult


class EpochRecord(Callback):
    """Appends loss, validation metrics, seconds and learning rates to epochs.jsonl, and keeps the best result.

    It comes after the retrieval callback. `last` is the line it wrote last, `gains` are the paired differences to the
    flatten baseline in it.
    """

    def __init__(self, retrieval: RetrievalCallback, flatten: EvalResult, run: RunDirectory) -> None:
        self.retrieval, self.flatten, self.run = retrieval, flatten, run
        self.last: Epoch | None = None
        self.gains: list[Difference] = []
        self.started, self.rates = 0.0, dict[str, float]()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        groups = [group for group in optimizer.param_groups if not group["name"].endswith("_undecayed")]  # same rates
        self.rates = {group["name"]: float(group["lr"]) for group in groups}
        pl_module.log_dict({f"train/lr_{name}": rate for name, rate in self.rates.items()})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        result = self.retrieval.result
        assert result is not None, "the retrieval callback has scored this epoch"
        number, monitor = trainer.current_epoch + 1, self.retrieval.monitor
        earlier = [line for line in read_epochs(self.run) if line.epoch < number]  # a resumed run drops later lines
        if all(result.metrics[monitor] > line.metrics[monitor] for line in earlier):
            replace(result, facts={**result.facts, "epoch": number}).save(self.run.results / "val_model")
        # the bootstrap over species needs two of them
        self.gains = compare(result, self.flatten) if result.facts["species"] > 1 else []
        intervals = {gain.metric: [gain.interval.low, gain.interval.high] for gain in self.gains}
        loss, seconds = float(trainer.callback_metrics["train/loss_epoch"]), time.perf_counter() - self.started
        self.last = Epoch(number, loss, result.metrics, intervals, round(seconds, 2), self.rates)
        append_epoch(self.run, self.last)
