"""Class vectors (proxies) of a loss: where they are, and how they are initialized."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPREAD = 0.1  # noise on each of several vectors of a species, whose components are about 1: 6 degrees


@dataclass(frozen=True)
class ClassVectors:
    """The class vectors of a loss: a matrix with K vectors for each of C species, which are adjacent.

    name: of the parameter. rows: whether the matrix is [C * K, D] (ProxyAnchor, ProxyNCA) or [D, C * K] (ArcFace,
    CosFace, normalised softmax; SoftTriple and sub-center ArcFace with K above 1). each: K.
    """

    name: str
    rows: bool
    each: int

    @torch.no_grad()
    def imprint(self, loss: nn.Module, means: Tensor) -> None:
        """Initialize class vectors by weight imprinting (Qi et al. 2018): mean embedding minus the mean of all species.

        means: [C, D]. The vectors have length sqrt(D), as random vectors have, so that the same learning rate fits.
        Several vectors of a species get a little noise, the same in every run, because equal vectors would stay equal.
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
    """Find the class vectors of `loss`, built by `make(classes, dimensions)`; None where it has none."""
    for name, weights in loss.named_parameters():
        if weights.ndim != 2:
            continue
        rows, columns = _fits(weights, classes, dimensions), _fits(weights.T, classes, dimensions)
        if rows and columns:  # a square matrix; a small one that is not square shows its orientation
            with torch.random.fork_rng(devices=[]):
                rows = make(2, 3).get_parameter(name).shape[1] == 3
        if rows or columns:
            return ClassVectors(name, rows, weights.shape[0 if rows else 1] // classes)
    return None


def _fits(weights: Tensor, classes: int, dimensions: int) -> bool:
    return weights.shape[1] == dimensions and weights.shape[0] % classes == 0
