"""One learning rate a group, warm-up and cosine."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from conspecific.models import Embedder


@dataclass(frozen=True)
class GroupedOptimizer:
    """Backbone, head (and pooling) and loss weights, each with a learning rate of its own.

    optimizer: a factory that takes parameter groups. weight_decay applies to matrices and kernels of backbone and
    head, not to biases, norms or the loss's species vectors. warmup_epochs: linear rise; then cosine to zero at the
    last step.
    """

    optimizer: Callable[..., Optimizer]
    backbone_lr: float
    head_lr: float
    loss_lr: float
    weight_decay: float
    warmup_epochs: float

    def build(self, embedder: Embedder, loss: nn.Module, epochs: int, steps_per_epoch: int) -> OptimizerLRScheduler:
        """Return Lightning's dictionary of optimizer and scheduler, the latter counting steps."""
        head = [*embedder.pooling.parameters(), *embedder.head.parameters()]
        groups = [
            *self._decayed("backbone", embedder.backbone.parameters(), self.backbone_lr),
            *self._decayed("head", head, self.head_lr),
            {"name": "loss", "params": list(loss.parameters()), "lr": self.loss_lr, "weight_decay": 0.0},
        ]
        optimizer = self.optimizer([group for group in groups if group["params"]])
        warmup = round(self.warmup_epochs * steps_per_epoch)
        schedule = LambdaLR(optimizer, lambda step: warm_cosine(step, warmup, epochs * steps_per_epoch))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _decayed(self, name: str, parameters: Iterable[nn.Parameter], rate: float) -> list[dict[str, Any]]:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        return [
            {"name": name, "params": matrices, "lr": rate, "weight_decay": self.weight_decay},
            {"name": f"{name}_undecayed", "params": vectors, "lr": rate, "weight_decay": 0.0},
        ]


def warm_cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the full learning rate at a step: linear from 1/warmup to 1, then half a cosine to 0.

    >>> [round(warm_cosine(step, 2, 6), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
