"""Parameter groups with their learning rates, linear warm-up and cosine decay."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from conspecific.errors import ConfigError
from conspecific.models import Backbone, Embedder


@dataclass(frozen=True)
class GroupedOptimizer:
    """A learning rate each for the backbone, the head (with the pooling) and the loss; linear warm-up, then cosine.

    optimizer: a factory that takes parameter groups; its updates are fused where it can and nothing else is asked for.
    weight_decay applies to matrices and kernels of backbone and
    head, not to biases, norms or the class vectors of the loss. warmup_epochs: length of the linear warm-up; the
    cosine after it reaches zero at the last step. layer_decay: factor from the learning rate of each stage of the
    backbone to that of the stage before it (Clark et al. 2020), so that early stages, which are useful for any images,
    change least. The defaults are those of configs/optimizer/adamw.yaml.
    """

    optimizer: Callable[..., Optimizer] = AdamW
    backbone_lr: float = 1e-3
    head_lr: float = 5e-4
    loss_lr: float = 1e-2
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        for name in ("backbone_lr", "head_lr", "loss_lr", "weight_decay", "warmup_epochs"):
            if not (value := getattr(self, name)) >= 0:
                raise ConfigError(f"optimizer.{name} must be 0 or more; found {value}")
        if not self.layer_decay > 0:
            raise ConfigError(f"optimizer.layer_decay must be above 0; found {self.layer_decay}")

    def build(
        self, embedder: Embedder, loss: nn.Module, epochs: int, steps_per_epoch: int, head_epochs: int = 0
    ) -> OptimizerLRScheduler:
        """Return Lightning's dictionary of optimizer and scheduler; the scheduler is called after every step.

        head_epochs: epochs in which the learning rate of the backbone is zero; its warm-up comes after them.
        """
        head = [*embedder.pooling.parameters(), *embedder.head.parameters()]
        made = [
            *self._backbone(embedder.backbone),
            *self._decayed("head", head, self.head_lr),
            {"name": "loss", "params": list(loss.parameters()), "lr": self.loss_lr, "weight_decay": 0.0},
        ]
        groups = [group for group in made if group["params"]]
        if not groups:
            raise ConfigError(
                "no weight is trained: set model.trainable_stages to 1 or more, model.head=linear or a loss with class "
                "vectors, or trainer.max_epochs=0 for the references alone"
            )
        try:
            optimizer = _fused(self.optimizer)(groups)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the optimizer refuses its settings: {error}. See the keys of optimizer") from error
        # a fused optimizer offers to undo the scaling of gradients, and Lightning then refuses to clip them
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        warmup, steps = round(self.warmup_epochs * steps_per_epoch), epochs * steps_per_epoch

        def after(begin: int) -> Callable[[int], float]:
            return lambda step: warm_cosine(step - begin, warmup, steps - begin) if step >= begin else 0.0

        late = head_epochs * steps_per_epoch
        rates = [after(late if group["name"].startswith("backbone") else 0) for group in groups]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, rates), "interval": "step"}}

    def _backbone(self, backbone: Backbone) -> Iterator[dict[str, Any]]:
        """Yield the backbone as one group, or one group for each stage where `layer_decay` is not 1."""
        if self.layer_decay == 1:
            yield from self._decayed("backbone", backbone.parameters(), self.backbone_lr)
            return
        stages = backbone.stages()
        for number, stage in enumerate(stages):
            rate = self.backbone_lr * self.layer_decay ** (len(stages) - 1 - number)
            yield from self._decayed(f"backbone_{number}", stage, rate)

    def _decayed(self, name: str, parameters: Iterable[nn.Parameter], rate: float) -> list[dict[str, Any]]:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        return [
            {"name": name, "params": matrices, "lr": rate, "weight_decay": self.weight_decay},
            {"name": f"{name}_undecayed", "params": vectors, "lr": rate, "weight_decay": 0.0},
        ]


def _fused(factory: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """Return a factory of optimizers that update all weights in one pass, on CPUs too; of others it is returned."""
    named = factory.keywords if isinstance(factory, partial) else {}
    made = factory.func if isinstance(factory, partial) else factory
    chosen = named.keys() & {"fused", "foreach", "differentiable"}
    return partial(factory, fused=True) if "fused" in signature(made).parameters and not chosen else factory


def warm_cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the full learning rate at a step: linear from 1/warmup to 1, then half a cosine to 0.

    >>> [round(warm_cosine(step, 2, 6), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
