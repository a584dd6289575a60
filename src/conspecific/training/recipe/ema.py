"""Weights that are searched with in place of the ones being trained: a running average of them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from conspecific.models import Embedder


def running_average(embedder: Embedder, decay: float) -> AveragedModel:
    """Return a copy that `update_parameters` moves towards the embedder (Polyak & Juditsky 1992).

    decay: share of the average that a step keeps; as it begins, less (1 + n) / (10 + n) after n steps, so that the
    weights before training are soon forgotten. Buffers are taken over as they are.
    """
    average = AveragedModel(embedder, avg_fn=_moving(decay))
    average.requires_grad_(False)
    return average


def _moving(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    def move(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        kept = min(decay, (1 + float(steps)) / (10 + float(steps)))
        return torch.lerp(current, average, kept)

    return move
