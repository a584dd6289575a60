"""Why two images match: which of their regions agree, by the feature maps that their embeddings are made of."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.models.class_probabilities import WithClassProbabilities
from conspecific.models.embedder import Embedder
from conspecific.models.pooling import ClassToken
from conspecific.types import FloatArray

WEAKEST = 0.05  # strength of a match, of the strongest one's

Cell = tuple[int, int]


@dataclass(frozen=True)
class Agreement:
    """Which regions of two images agree.

    first, second: [h, w] of each image in [0, 1], how much each cell of its feature map adds to the similarity; 1 for
    the cell that adds most. matches: pairs of cells, (row, column) in the first image and in the second, the strongest
    first. pairs: [h * w, h * w], what each pair of cells adds to the similarity of the embeddings, before they are
    normalised.
    """

    first: FloatArray
    second: FloatArray
    matches: tuple[tuple[Cell, Cell], ...]
    pairs: FloatArray


def agreement(embedder: Embedder, images: Tensor, most: int = 5) -> Agreement:
    """Return which regions of two images agree. images: uint8 [2, 3, S, S]. most: number of matches.

    The cells of the two feature maps are correlated with each other, as in PAIR-X (Shrack, Haucke, Salaün, Subramonian
    and Beery 2025, arXiv:2503.22881), each weighted by what it adds to the embedding. Pooling of degree 1, as the mean,
    the maximum and GeM are, is the sum over cells of feature times gradient, and a head is followed by its derivative:
    so the products of all pairs of cells sum up to that of the two embeddings (Stylianou, Souvenir and Pless 2019, for
    the mean). A match is a pair of cells each of which agrees most with the other. Of a class token, to which no cell
    adds anything by itself, the cells' features are compared, less their mean.
    Raises ConfigError for a network whose tokens form no square, or that takes no images of this size.
    """
    embedder.eval()
    with torch.no_grad():
        features = embedder.backbone(images.to(next(embedder.parameters()).device)).float()
    height, width = _grid(features.shape[2] - embedder.backbone.prefix_tokens, features.shape[3], embedder)
    cells = _tokens(embedder, features) if isinstance(embedder.pooling, ClassToken) else _parts(embedder, features)
    pairs = (cells[0] @ cells[1].T).cpu().numpy()
    maps = [_scaled(pairs.sum(axis=axis)).reshape(height, width) for axis in (1, 0)]
    matches = tuple((divmod(row, width), divmod(column, width)) for row, column in _mutual(_scaled(pairs), most))
    return Agreement(maps[0], maps[1], matches, pairs)


def _parts(embedder: Embedder, features: Tensor) -> Tensor:
    """Return what each cell adds to the embedding before it is normalised, [2, P, D]."""
    with torch.inference_mode(False), torch.enable_grad():
        followed = features.clone().requires_grad_(True)
        pooled = embedder.pool(followed)
        (gradient,) = torch.autograd.grad(pooled.sum(), followed)
    parts = (features * gradient)[:, :, embedder.backbone.prefix_tokens :].flatten(2).transpose(1, 2)
    if not embedder.search_head:
        return parts
    with torch.inference_mode(False), torch.enable_grad():
        places = pooled.detach().repeat_interleave(parts.shape[1], dim=0)
        derivative: Callable[..., tuple[Tensor, Tensor]] = torch.autograd.functional.jvp
        whole, changed = derivative(_trained(embedder.head), places, parts.flatten(0, 1))
    shape = *parts.shape[:2], -1
    found, embedding = changed.detach().view(shape), whole.detach().view(shape)
    rest = embedding[:, :1] - found.sum(dim=1, keepdim=True)  # of a bias: each cell has its share
    shared: Tensor = (found + rest / parts.shape[1])[..., : embedder.truncate]
    return shared


def _trained(head: nn.Module) -> nn.Module:
    """Return a head without the probabilities of species, which no region has by itself."""
    return head.head if isinstance(head, WithClassProbabilities) else head


def _tokens(embedder: Embedder, features: Tensor) -> Tensor:
    """Return the features of the positions less their mean over both images, each of length 1, [2, P, C]."""
    tokens = features[:, :, embedder.backbone.prefix_tokens :].flatten(2).transpose(1, 2)
    return torch.nn.functional.normalize(tokens - tokens.mean(dim=(0, 1)), dim=2)


def _grid(height: int, width: int, embedder: Embedder) -> Cell:
    """Return the rows and columns of a feature map, whose tokens a transformer has in one column."""
    if width > 1 or height == 1:
        return height, width
    side = math.isqrt(height)
    if side * side != height:
        raise ConfigError(
            f"{embedder.backbone.name} has {height} tokens an image, which form no square: its regions cannot be shown"
        )
    return side, side


def _scaled(values: FloatArray) -> FloatArray:
    """Return values from 0, for what is below, to 1, for the largest."""
    return (np.maximum(values, 0) / max(float(values.max()), 1e-12)).astype(np.float32)


def _mutual(strength: FloatArray, most: int) -> list[tuple[int, int]]:
    """Return the pairs of cells that agree most with each other, the strongest first."""
    best, back = strength.argmax(axis=1), strength.argmax(axis=0)
    rows = np.arange(len(best))
    rows = rows[(back[best] == rows) & (strength[rows, best] >= WEAKEST)]
    order = np.argsort(-strength[rows, best[rows]], kind="stable")[:most]
    return [(int(rows[place]), int(best[rows[place]])) for place in order]
