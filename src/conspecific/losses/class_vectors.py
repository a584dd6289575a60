"""The vectors that some losses keep for each species: where they are, and how they are started."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPREAD = 0.1  # of several vectors of one species, beside components of about 1: 6 degrees from their common start


@dataclass(frozen=True)
class ClassVectors:
    """A loss's matrix of K vectors for each of C species, those of one species next to each other.

    name: the parameter's. rows: [C * K, D] (ProxyAnchor, ProxyNCA), else columns: [D, C * K] (ArcFace, CosFace,
    normalised softmax; SoftTriple and sub-center ArcFace with K above 1). each: K.
    """

    name: str
    rows: bool
    each: int

    @torch.no_grad()
    def imprint(self, loss: nn.Module, means: Tensor) -> None:
        """Start each species' vectors from its mean embedding (Qi et al. 2018), less the mean of all species.

        means: [C, D]. The vectors have length sqrt(D), as random ones have, which fits their learning rate. Where a
        species has several they are spread a little, the same in every run: equal ones would stay equal.
        """
        vectors = F.normalize(means - means.mean(dim=0)) * means.shape[1] ** 0.5
        vectors = vectors.repeat_interleave(self.each, dim=0)
        if self.each > 1:
            noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
            vectors = F.normalize(vectors + SPREAD * noise.to(vectors)) * means.shape[1] ** 0.5
        loss.get_parameter(self.name).copy_(vectors if self.rows else vectors.T)


def find_class_vectors(
    make: Callable[[int, int], nn.Module], loss: nn.Module, classes: int, dimensions: int
) -> ClassVectors | None:
    """Find where `loss`, made by `make(classes, dimensions)`, keeps vectors for the species; None where it does not."""
    for name, weights in loss.named_parameters():
        if weights.ndim != 2:
            continue
        rows, columns = _fits(weights, classes, dimensions), _fits(weights.T, classes, dimensions)
        if rows and columns:  # square: a small one of the kind tells
            with torch.random.fork_rng(devices=[]):
                rows = make(2, 3).get_parameter(name).shape[1] == 3
        if rows or columns:
            return ClassVectors(name, rows, weights.shape[0 if rows else 1] // classes)
    return None


def _fits(weights: Tensor, classes: int, dimensions: int) -> bool:
    return weights.shape[1] == dimensions and weights.shape[0] % classes == 0
