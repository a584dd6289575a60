"""The cells of the backbone's last feature map as local descriptors, which need no further weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conspecific.evaluation.evaluator import Evaluator
from conspecific.models import Embedder
from conspecific.models.encode import embed_batches
from conspecific.types import FloatArray

DIMENSIONS = 128  # of a cell's descriptor
FITTED_ON = 256  # validation images, for the principal components of cells


class Cells(nn.Module):
    """A pooling that keeps the cells: feature map [B, C, h, w] -> their descriptors of length 1, [B, h * w * d]."""

    centre: Tensor
    matrix: Tensor

    def __init__(self, centre: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("matrix", matrix)

    def forward(self, features: Tensor) -> Tensor:
        cells = features.float().flatten(2).transpose(1, 2)
        return F.normalize((cells - self.centre) @ self.matrix, dim=2).flatten(1)


@dataclass(frozen=True)
class CellDescriptors:
    """Cells, by their principal components. cells: the pooling. embedder: whose backbone it follows.

    to_features: the backbone as it is run, from images uint8 [B, 3, side, side] to feature maps.
    """

    cells: Cells
    embedder: Embedder
    to_features: Callable[[Tensor], Tensor]
    device: torch.device
    side: int
    name: str = "cells"

    @property
    def network(self) -> Embedder:
        """The embedder whose vectors are the descriptors of an image's cells, one after another."""
        return Embedder(self.embedder.backbone, self.cells, nn.Identity(), normalize=False, search_head=False)

    def describe(self, images: Tensor) -> list[Tensor]:
        """Return the cells of each image, [P, d] in half precision."""
        [[block]] = embed_batches([self.network], [images], self.to_features, self.device)
        return self.split(block)

    def split(self, vectors: FloatArray) -> list[Tensor]:
        """Return the cells of each image from vectors of `network`, [B, P * d]."""
        return list(torch.from_numpy(vectors).half().view(len(vectors), -1, self.cells.matrix.shape[1]))

    def match(self, query: Tensor, others: Sequence[Tensor]) -> FloatArray:
        """Return the mean over cells of the cosine similarity to the nearest cell of the other image, in [0, 1].

        Only pairs count in which each is the nearest of the other, the other cells 0.
        """
        pairs = torch.stack(list(others)).float() @ query.float().T
        best, back = pairs.max(dim=2), pairs.max(dim=1).indices
        mutual = back.gather(1, best.indices) == torch.arange(pairs.shape[1])
        found: FloatArray = (best.values.clamp(min=0) * mutual).mean(dim=1).numpy()
        return found

    def bytes_of(self, described: Tensor) -> int:
        """Return what the cells of one image take in memory."""
        return described.nbytes


def fit_cells(evaluator: Evaluator, embedder: Embedder) -> CellDescriptors:
    """Return the descriptors of cells by their principal components on validation images."""
    channels = embedder.backbone.channels
    backbone, device, side = embedder.backbone, evaluator.device, evaluator.image_size
    plain = CellDescriptors(Cells(torch.zeros(channels), torch.eye(channels)), embedder, backbone, device, side)
    ids = evaluator.subset("val").ids
    ids = ids[np.unique(np.linspace(0, len(ids) - 1, FITTED_ON).astype(int))]
    sample = evaluator.embed({"cells": plain.network}, ids, "Describing cells")["cells"].vectors
    cells = torch.from_numpy(sample.reshape(-1, channels))
    centre = cells.mean(dim=0)
    _, axes = torch.linalg.eigh(torch.cov((cells - centre).T))
    fitted = Cells(centre, axes[:, -min(DIMENSIONS, channels) :].contiguous())
    return CellDescriptors(fitted, embedder, backbone, device, side)
