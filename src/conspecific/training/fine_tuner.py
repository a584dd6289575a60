"""Fine-tuning as a LightningModule."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from conspecific.config.recipe import RecipeConfig
from conspecific.errors import ConfigError, TrainingError
from conspecific.losses import similarity_distillation
from conspecific.models import Embedder
from conspecific.training.batch import as_mapping, images_of
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.training.recipe.ema import running_average
from conspecific.training.recipe.head_first import check_head_epochs, trains_backbone
from conspecific.types import IntArray


class FineTuner(pl.LightningModule):
    """Trains an embedder with a metric-learning loss on class labels.

    forward: images [B, 3, H, W], uint8 or float in [0, 1] -> embeddings [B, D] float32 of `eval_embedder`.
    predict_step: a batch -> the same. Batches are mappings {image, label}, or tuples (images, labels).

    It has no validation loop: `RetrievalCallback` scores the validation images, in the same way as every other
    evaluation.

    >>> import pytorch_metric_learning.losses
    >>> from conspecific.models import build_embedder
    >>> embedder = build_embedder("test_resnet", "none", head="linear", dimensions=16)
    >>> loss = pytorch_metric_learning.losses.ArcFaceLoss(num_classes=5, embedding_size=16)
    >>> module = FineTuner(embedder, loss, 5)
    >>> module(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 16])
    """

    class_of_label: Tensor
    teacher_embeddings: Tensor

    def __init__(
        self,
        embedder: Embedder,
        loss: nn.Module,
        labels: IntArray | Sequence[int] | int,
        *,
        optimizer: GroupedOptimizer | None = None,
        recipe: RecipeConfig | None = None,
        teacher_embeddings: Tensor | None = None,
    ) -> None:
        """Combine an embedder and a loss.

        loss: a loss of `conspecific.losses`, or any module that takes embeddings [B, D] and labels [B] int64 and
            returns a scalar, as the losses of pytorch-metric-learning do.
        labels: the labels of the training images, integers from 0; the loss sees them renumbered without gaps. Or the
            number of classes, where the labels have no gaps.
        optimizer: learning rates and schedule; the default is AdamW with the rates of the default experiment.
        recipe: ways to train; the default uses none of them.
        teacher_embeddings: a teacher's embedding of each sample id, [N, D], for `recipe.distillation`; batches must
            then have `index`, the sample ids.
        Raises ConfigError where `recipe.head_epochs` would leave nothing to train, or the teacher is missing.
        """
        super().__init__()
        self.embedder, self.loss, self.optimizer = embedder, loss, optimizer or GroupedOptimizer()
        self.recipe = recipe or RecipeConfig()
        self.average = running_average(embedder, self.recipe.ema) if self.recipe.ema else None
        self.register_buffer("class_of_label", _class_of_label(labels), persistent=False)
        self.register_buffer("teacher_embeddings", teacher_embeddings, persistent=False)
        if self.recipe.distillation and teacher_embeddings is None:
            raise ConfigError(f"recipe.distillation={self.recipe.distillation} needs teacher_embeddings; found none")
        check_head_epochs(self.recipe.head_epochs, embedder, loss)

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.eval_embedder(images)
        return embeddings

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        embeddings: Tensor = self(images_of(batch))
        return embeddings

    @property
    def eval_embedder(self) -> Embedder:
        """The embedder that is scored and kept: the running average of the weights if `recipe.ema` asks for one.

        Before the first step there is no average, and it is the embedder in training.
        """
        if self.average is None or not self.average.n_averaged:
            return self.embedder
        assert isinstance(self.average.module, Embedder)
        return self.average.module

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = as_mapping(batch)
        loss = self.batch_loss(batch, self.current_epoch)
        if not torch.isfinite(loss):
            ids = f", in a batch of the sample ids {batch['index'].tolist()}" if "index" in batch else ""
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.global_step}{ids}. Lower optimizer.backbone_lr or "
                "loss_lr, or the scale and margin of the loss; the last checkpoint is intact."
            )
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(batch["label"]))
        return loss

    def batch_loss(self, batch: Mapping[str, Any], epoch: int) -> Tensor:
        """Return the loss of a batch, a scalar that may be NaN or Inf. epoch: from 0."""
        projected = self.embedder.project_features(self._features(batch, epoch))
        loss: Tensor = self.loss(projected, self.class_of_label[batch["label"]])
        if not self.recipe.distillation:
            return loss
        return loss + self.recipe.distillation * similarity_distillation(
            projected, self.teacher_embeddings[batch["index"]]
        )

    def _features(self, batch: Mapping[str, Any], epoch: int) -> Tensor:
        """Return the backbone's feature map, from images or from cached activations of its frozen stages."""
        backbone = self.embedder.backbone
        with torch.set_grad_enabled(trains_backbone(epoch, self.recipe.head_epochs)):
            if "activations" in batch:
                return backbone.forward_tail(batch["activations"].float())
            features: Tensor = backbone(batch["image"])
            return features

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        super().optimizer_step(*args, **options)
        if self.average is not None:
            self.average.update_parameters(self.embedder)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise ConfigError(f"the schedule needs the number of epochs: Trainer(max_epochs=...); found {epochs}")
        steps = int(self.trainer.estimated_stepping_batches) // epochs
        return self.optimizer.build(self.embedder, self.loss, epochs, max(1, steps), self.recipe.head_epochs)


def _class_of_label(labels: IntArray | Sequence[int] | int) -> Tensor:
    """Return the class of each label, from 0 without gaps; -1 for labels that do not occur in training."""
    if isinstance(labels, int):
        return torch.arange(labels)
    found = np.unique(np.asarray(labels))
    table = np.full(int(found[-1]) + 1, -1, dtype=np.int64)
    table[found] = np.arange(found.size)
    return torch.from_numpy(table)
