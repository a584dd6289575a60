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
    average = AveragedModel(embedder, avg_fn=_moving(decay))
    average.requires_grad_(False)
    return average


def _moving(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    def move(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        kept = min(decay, (1 + float(steps)) / (10 + float(steps)))
        return torch.lerp(current, average, kept)

    return move
