"""Exponential moving average of the weights (Polyak & Juditsky 1992), evaluated in place of the trained weights."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from conspecific.models import Embedder


def running_average(embedder: Embedder, decay: float) -> AveragedModel:
    """Return a copy of the embedder that `update_parameters` moves towards it.

    decay: the share of the average that an update keeps, in (0, 1). The n-th update keeps min(decay, (1 + n) / (10 +
    n)), so that the weights before training lose their influence within a few steps. Buffers are copied, not averaged.
    """
    average = AveragedModel(embedder, multi_avg_fn=_moving(decay))
    average.requires_grad_(False)
    return average


Tensors = tuple[Tensor, ...] | list[Tensor]


def _moving(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    def move(averages: Tensors, current: Tensors, steps: Tensor | int) -> None:
        kept = min(decay, (1 + float(steps)) / (10 + float(steps)))
        torch._foreach_lerp_(averages, current, 1 - kept)

    return move
