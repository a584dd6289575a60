"""Fine-tuning as a LightningModule."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from conspecific.config.schema import RecipeConfig
from conspecific.data.dataset import Item
from conspecific.errors import ConfigError, TrainingError
from conspecific.losses import Matryoshka, MetricLoss, similarity_distillation
from conspecific.models import Embedder
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.training.recipe.ema import running_average
from conspecific.types import IntArray


class FineTuner(pl.LightningModule):
    """Trains an embedder with a loss on species labels.

    Validation is not Lightning's loop but the retrieval callback's, which scores as every other evaluation does.
    """

    class_of_label: Tensor
    teacher_embeddings: Tensor

    def __init__(
        self,
        embedder: Embedder,
        loss: MetricLoss | Matryoshka,
        optimizer: GroupedOptimizer,
        train_labels: IntArray,
        recipe: RecipeConfig | None = None,
        teacher_embeddings: Tensor | None = None,
    ) -> None:
        """train_labels: the species numbers that occur in training; the loss sees them renumbered from 0.

        teacher_embeddings: a teacher's embedding of each sample id, [N, D], where `recipe.distillation` asks for one.
        Raises ConfigError where `recipe.head_epochs` would leave nothing to train.
        """
        super().__init__()
        self.embedder, self.loss, self.optimizer = embedder, loss, optimizer
        self.recipe = recipe or RecipeConfig()
        self.average = running_average(embedder, self.recipe.ema) if self.recipe.ema else None
        classes = np.full(int(train_labels.max()) + 1, -1, dtype=np.int64)
        classes[np.unique(train_labels)] = np.arange(np.unique(train_labels).size)
        self.register_buffer("class_of_label", torch.from_numpy(classes), persistent=False)
        self.register_buffer("teacher_embeddings", teacher_embeddings, persistent=False)
        if self.recipe.head_epochs and not _above(embedder, loss):
            raise ConfigError(
                f"recipe.head_epochs={self.recipe.head_epochs} trains what lies above the backbone first, and there is "
                "nothing: set model.head=linear, or a loss with a vector for each species, or recipe.head_epochs=0"
            )

    @property
    def eval_embedder(self) -> Embedder:
        """The embedder that is scored and kept: the average of the weights where there is one and a step was made."""
        if self.average is None or not self.average.n_averaged:
            return self.embedder
        assert isinstance(self.average.module, Embedder)
        return self.average.module

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:
        labels = self.class_of_label[batch["label"]]
        projected = self.embedder.project_features(self._features(batch))
        loss: Tensor = self.loss(projected, labels)
        if self.recipe.distillation:
            loss = loss + self.recipe.distillation * similarity_distillation(
                projected, self.teacher_embeddings[batch["index"]]
            )
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.global_step}. Lower optimizer.backbone_lr or loss_lr, or "
                "the loss's scale and margin; the last checkpoint is whole."
            )
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(labels))
        return loss

    def _features(self, batch: Item) -> Tensor:
        """The backbone's feature map, from the frozen stages' activations where they come in place of images."""
        backbone = self.embedder.backbone
        with torch.set_grad_enabled(self.current_epoch >= self.recipe.head_epochs):
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
        assert epochs is not None and epochs > 0
        steps = int(self.trainer.estimated_stepping_batches) // epochs
        return self.optimizer.build(self.embedder, self.loss, epochs, max(1, steps), self.recipe.head_epochs)


def _above(embedder: Embedder, loss: nn.Module) -> list[nn.Parameter]:
    """What is trained besides the backbone."""
    return [*embedder.pooling.parameters(), *embedder.head.parameters(), *loss.parameters()]
