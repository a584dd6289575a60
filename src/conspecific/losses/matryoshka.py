"""Matryoshka representation learning (Kusupati et al. 2022): prefixes of an embedding are embeddings too."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.metric_loss import MetricLoss


class Matryoshka(nn.Module):
    """The mean of a loss over several prefixes of an embedding: its first d components, for each d of `dimensions`.

    Embeddings trained with it can be truncated to any of these lengths, to search with less memory. Source: "Matryoshka
    Representation Learning", arXiv 2205.13147, with equal weights of all prefixes.

    make: returns the loss of embeddings of d components, with class vectors of that length where it has any.
    dimensions: each from 1 to the length of the embedding, without repetition; the full length should be among them.
    Raises ConfigError for others.
    """

    def __init__(self, make: Callable[[int], MetricLoss], dimensions: Sequence[int]) -> None:
        super().__init__()
        if not dimensions or min(dimensions) < 1 or len(set(dimensions)) < len(dimensions):
            raise ConfigError(f"Matryoshka needs one or more dimensions above 0, each once; found {list(dimensions)}")
        self.dimensions = tuple(dimensions)
        self.losses = nn.ModuleList(make(length) for length in self.dimensions)

    @property
    def imprinted(self) -> bool:
        """Whether `imprint` has to be called before training."""
        return any(loss.imprinted for loss in self.losses)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings [B, D] and labels [B]; D is the longest of the dimensions or more."""
        longest = max(self.dimensions)
        if embeddings.shape[1] < longest:
            raise ConfigError(
                f"the loss needs {longest} dimensions, and an embedding has {embeddings.shape[1]}: lower "
                "recipe.matryoshka or raise model.dimensions"
            )
        losses = zip(self.dimensions, self.losses, strict=True)
        return torch.stack([loss(embeddings[:, :length], labels) for length, loss in losses]).mean()

    def imprint(self, means: Tensor) -> None:
        """Imprint the class vectors of each length from prefixes of the mean embeddings of the species, [C, D]."""
        for length, loss in zip(self.dimensions, self.losses, strict=True):
            assert isinstance(loss, MetricLoss)
            loss.imprint(means[:, :length])
