"""Gathering the batches of all ranks into one, so that a loss compares images across ranks."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as ranks


def gather(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Join the embeddings [B, D] and labels [B] of all ranks, in the order of the ranks; B may differ between them.

    Returns them unchanged in a single process. All ranks must call this together. A loss of the joined batch is the
    same on each rank, and each rank passes gradients to its own rows only, times the number of ranks. After
    DistributedDataParallel has averaged them, the gradients equal those of one process with the joined batch, for the
    network and for the parameters of the loss.
    """
    if not (ranks.is_available() and ranks.is_initialized()) or ranks.get_world_size() == 1:
        return embeddings, labels
    count = torch.tensor([len(labels)], device=labels.device)
    counts = torch.cat(_gather_equal(count)).tolist()
    joined: Tensor = _Joined.apply(embeddings, counts)
    return joined, _gather(labels, counts)


class _Joined(torch.autograd.Function):
    """The rows of all ranks; the gradient reaches the rows of this rank only."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _gather(own, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient] = gradients
        return torch.split(gradient, ctx.counts)[ranks.get_rank()] * len(ctx.counts), None


def _gather(own: Tensor, counts: list[int]) -> Tensor:
    """Join rows where the number of rows differs between ranks."""
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    return torch.cat([rows[:count] for rows, count in zip(_gather_equal(padded), counts, strict=True)])


def _gather_equal(own: Tensor) -> list[Tensor]:
    found = [torch.empty_like(own) for _ in range(ranks.get_world_size())]
    ranks.all_gather(found, own)
    return found
