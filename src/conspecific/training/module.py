"""Fine-tuning as a LightningModule."""

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from conspecific.data.dataset import Item
from conspecific.errors import ConspecificError
from conspecific.losses import MetricLoss
from conspecific.models import Embedder
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.types import IntArray


class FineTuner(pl.LightningModule):
    """Trains an embedder with a loss on species labels.

    Validation is not Lightning's loop but the retrieval callback's, which scores as every other evaluation does.
    """

    class_of_label: Tensor

    def __init__(
        self, embedder: Embedder, loss: MetricLoss, optimizer: GroupedOptimizer, train_labels: IntArray
    ) -> None:
        """train_labels: the species numbers that occur in training; the loss sees them renumbered from 0."""
        super().__init__()
        self.embedder, self.loss, self.optimizer = embedder, loss, optimizer
        classes = np.full(int(train_labels.max()) + 1, -1, dtype=np.int64)
        classes[np.unique(train_labels)] = np.arange(np.unique(train_labels).size)
        self.register_buffer("class_of_label", torch.from_numpy(classes), persistent=False)

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:
        labels = self.class_of_label[batch["label"]]
        loss: Tensor = self.loss(self.embedder.project(batch["image"]), labels)
        if not torch.isfinite(loss):
            raise ConspecificError(
                f"the loss became {loss.item()} at step {self.global_step}. Lower optimizer.backbone_lr or loss_lr, or "
                "the loss's scale and margin; the last checkpoint is whole."
            )
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        epochs = self.trainer.max_epochs
        assert epochs is not None and epochs > 0
        steps = int(self.trainer.estimated_stepping_batches) // epochs
        return self.optimizer.build(self.embedder, self.loss, epochs, max(1, steps))
