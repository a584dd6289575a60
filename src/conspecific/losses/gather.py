"""One batch out of the batches of all ranks, so that a loss compares across them."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as ranks


def gather(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Join the embeddings [B, D] and labels [B] of all ranks, in the order of the ranks; B may differ between them.

    Returns them as they are where there is one process. Every rank must call this together. A loss of the joined batch
    is the same on each rank, and each hands gradients to its own rows only, times the number of ranks: after the
    averaging of DistributedDataParallel the gradients are those of one process with the joined batch, for what made
    the embeddings and for the parameters of the loss alike.
    """
    if not (ranks.is_available() and ranks.is_initialized()) or ranks.get_world_size() == 1:
        return embeddings, labels
    count = torch.tensor([len(labels)], device=labels.device)
    counts = torch.cat(_gather_equal(count)).tolist()
    joined: Tensor = _Joined.apply(embeddings, counts)
    return joined, _gather(labels, counts)


class _Joined(torch.autograd.Function):
    """All ranks' rows; the gradient goes to one's own."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _gather(own, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient] = gradients
        return torch.split(gradient, ctx.counts)[ranks.get_rank()] * len(ctx.counts), None


def _gather(own: Tensor, counts: list[int]) -> Tensor:
    """Join rows of which each rank has another number."""
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    return torch.cat([rows[:count] for rows, count in zip(_gather_equal(padded), counts, strict=True)])


def _gather_equal(own: Tensor) -> list[Tensor]:
    found = [torch.empty_like(own) for _ in range(ranks.get_world_size())]
    ranks.all_gather(found, own)
    return found
