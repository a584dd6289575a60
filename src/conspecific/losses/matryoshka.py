"""Embeddings whose beginnings are embeddings too (Kusupati et al. 2022)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.metric_loss import MetricLoss


class Matryoshka(nn.Module):
    """The mean of a loss over several beginnings of an embedding: its first d components, for each d of `dimensions`.

    What is trained so can be cut to any of them, and searched with less memory. Source: "Matryoshka Representation
    Learning", arXiv 2205.13147, with all beginnings weighted alike.

    make: returns the loss of embeddings of d components, with vectors of the species of that length where it keeps any.
    dimensions: from 1 to the length of the embedding, which should be among them; each once. Raises ConfigError for
    others.
    """

    def __init__(self, make: Callable[[int], MetricLoss], dimensions: Sequence[int]) -> None:
        super().__init__()
        if not dimensions or min(dimensions) < 1 or len(set(dimensions)) < len(dimensions):
            raise ConfigError(f"Matryoshka needs one or more dimensions above 0, each once; found {list(dimensions)}")
        self.dimensions = tuple(dimensions)
        self.losses = nn.ModuleList(make(length) for length in self.dimensions)

    @property
    def imprinted(self) -> bool:
        """Whether `imprint` is to be called before training."""
        return any(loss.imprinted for loss in self.losses)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings [B, D] and labels [B]; D is the longest of the dimensions or more."""
        longest = max(self.dimensions)
        if embeddings.shape[1] < longest:
            raise ConfigError(
                f"the loss looks at the first {longest} components, and an embedding has {embeddings.shape[1]}: name "
                "smaller dimensions, or give the model a larger head"
            )
        losses = zip(self.dimensions, self.losses, strict=True)
        return torch.stack([loss(embeddings[:, :length], labels) for length, loss in losses]).mean()

    def imprint(self, means: Tensor) -> None:
        """Start the species' vectors of each length from the beginnings of their mean embeddings [C, D]."""
        for length, loss in zip(self.dimensions, self.losses, strict=True):
            assert isinstance(loss, MetricLoss)
            loss.imprint(means[:, :length])
