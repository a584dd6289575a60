"""Training that cannot recover is stopped before the checkpoint of the epoch is written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from conspecific.errors import TrainingError
from conspecific.files import write_whole
from conspecific.metrics import Geometry
from conspecific.models.state_dict import AVERAGE
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, read_epochs
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.random_states import RandomStates, random_states
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.types import EvalResult

COLLAPSED = "the embeddings have collapsed: the encoder maps all images to nearly the same vector"


class KeepFailedBatch(Callback):
    """Writes the batch in which training failed, and what it met, into `run.failed_batch`; `replay` reads it.

    A dictionary of tensors and plain values, which torch.load reads with weights_only=True: epoch (from 0), step,
    batch, random_states, class_of_label, teacher_embeddings (those of the batch, or None), and state_dict, the weights
    and buffers from before the step, which adds its batch to a cross-batch memory. It comes after `SeedSteps`.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.batch: Any = None
        self.changing: list[tuple[nn.Module, str, str]] = []
        self.buffers: dict[str, Tensor] = {}
        self.random_states: RandomStates = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.run.failed_batch.unlink(missing_ok=True)  # of the run before it was resumed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.changing = list(_changing(pl_module))

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, place: int) -> None:
        self.batch, self.random_states = batch, random_states()
        self.buffers = {full: getattr(part, name).clone() for part, name, full in self.changing}

    def on_train_batch_end(self, *_: Any) -> None:
        self.batch, self.buffers = None, {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.batch is None or not isinstance(exception, TrainingError):
            return
        assert isinstance(pl_module, FineTuner)
        teacher = pl_module.teacher_embeddings
        kept = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "batch": dict(self.batch),
            "random_states": self.random_states,
            "class_of_label": pl_module.class_of_label,
            "teacher_embeddings": None if teacher is None else teacher[self.batch["index"]],
            "state_dict": {**pl_module.state_dict(), **self.buffers},
        }
        with write_whole(self.run.failed_batch) as temporary:
            torch.save(kept, temporary)


def _changing(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield the buffers that a step may change before its loss is known: module, name, and name in the state dict."""
    kept = module.state_dict()
    for prefix, part in module.named_modules():
        if part.training and not f"{prefix}.".startswith(AVERAGE):  # which the optimizer's step updates
            for name, _ in part.named_buffers(recurse=False):
                if (full := f"{prefix}.{name}".lstrip(".")) in kept:
                    yield part, name, full


@contextmanager
def naming_failed_batch(run: RunDirectory) -> Iterator[None]:
    """Add to a TrainingError in this block where the batch is that `KeepFailedBatch` wrote."""
    try:
        yield
    except TrainingError as error:
        kept = f" The batch and what it met are in {run.failed_batch}." if run.failed_batch.is_file() else ""
        raise TrainingError(f"{error}{kept}") from error


class StopOnNonFiniteWeights(Callback):
    """Raises TrainingError where a weight is NaN or Inf after the last step of an epoch.

    It comes before the retrieval callback, which cannot score such weights.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuner)
        if not all(bool(parameter.isfinite().all()) for parameter in pl_module.eval_embedder.parameters()):
            raise _lost("the weights contain NaN or Inf", trainer.current_epoch + 1, self.run)


class StopOnCollapse(Callback):
    """Raises TrainingError after an epoch in which the embeddings collapsed or training diverged.

    It comes after the line of the epoch was recorded. flatten: the metrics of the flatten baseline on validation.
    """

    def __init__(self, retrieval: RetrievalCallback, flatten: EvalResult, run: RunDirectory) -> None:
        self.retrieval, self.flatten, self.run = retrieval, flatten, run

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        result, monitor = self.retrieval.result, self.retrieval.monitor
        assert result is not None, "the retrieval callback has scored this epoch"
        if Geometry(**result.facts["geometry"]).is_collapsed:
            raise _lost(COLLAPSED, trainer.current_epoch + 1, self.run)
        if diverged := divergence(read_epochs(self.run), monitor, self.flatten.metrics[monitor]):
            raise _lost(diverged, trainer.current_epoch + 1, self.run)


def divergence(epochs: Sequence[Epoch], monitor: str, baseline: float) -> str | None:
    """Say how training diverged in the last of the epochs, None where it did not.

    It did where the monitored metric fell to less than half of its best value and below the baseline, and the loss is
    more than twice its lowest value. A higher loss alone is no sign: harder batches and larger crops raise it.
    """
    *earlier, last = epochs
    if not earlier:
        return None
    best, value = max(line.metrics[monitor] for line in earlier), last.metrics[monitor]
    if value >= min(best / 2, baseline) or last.loss <= 2 * min(line.loss for line in earlier):
        return None
    return (
        f"training diverged: validation {monitor} fell from {best:.3f} to {value:.3f} and the loss rose to "
        f"{last.loss:.3g}"
    )


def _lost(what: str, epoch: int, run: RunDirectory) -> TrainingError:
    earlier = [line.epoch for line in read_epochs(run) if line.epoch < epoch]
    kept = f"the checkpoint of epoch {earlier[-1]} is intact" if earlier else "no checkpoint was written"
    return TrainingError(
        f"{what} after epoch {epoch}. Lower optimizer.backbone_lr or loss_lr, raise optimizer.warmup_epochs, or "
        f"choose another loss or miner; {kept} in {run.checkpoints}"
    )
