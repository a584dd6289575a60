"""The probabilities of the training species, as further dimensions of an embedding."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conspecific.models.whitening import species_means

SCALE = 8.0  # of the cosine to the mean of a species; docs/log.md
MEANS, FACTOR = "head.means", "head.factor"  # in the weights of an embedder whose head is `WithClassProbabilities`


class WithClassProbabilities(nn.Module):
    """A head whose output [B, D], normalised, is followed by the probabilities of the K training species: [B, D + K].

    The probabilities are the softmax of the cosines to the mean embeddings of the species, times `SCALE`. Their dot
    product for two images is the probability that both are of one species, if each is of one of the K: it is added,
    times `factor` squared, to the cosine. The first D dimensions alone are the embedding as it was.

    means: [K, D], of length 1. factor: [], of the probabilities beside an embedding of length 1.
    """

    means: Tensor
    factor: Tensor

    def __init__(self, head: nn.Module, means: Tensor, factor: float = 0.0) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("means", means)
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, pooled: Tensor) -> Tensor:
        embeddings = F.normalize(self.head(pooled).float())
        probabilities = torch.softmax(SCALE * embeddings @ self.means.T, dim=1)
        return torch.cat([embeddings, self.factor * probabilities], dim=1)


def without_class_probabilities(weights: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    """Return weights of an embedder with its head as it was trained. prefix: what stands before the names."""
    if prefix + MEANS not in weights:
        return weights
    inner = f"{prefix}head.head."
    return {
        f"{prefix}head.{name.removeprefix(inner)}" if name.startswith(inner) else name: tensor
        for name, tensor in weights.items()
        if name not in (prefix + MEANS, prefix + FACTOR)
    }


def mean_embeddings(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return the normalised mean of the embeddings [N, D] of each species, [K, D] float32; labels [N] are any K."""
    return F.normalize(species_means(embeddings.double(), torch.unique(labels, return_inverse=True)[1])).float()
