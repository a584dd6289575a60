"""Model soups (Wortsman et al. 2022): the weights of several fine-tunings of one network, averaged into one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from conspecific.errors import RunError

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Tasting:
    """What adding one ingredient came to. score: of the soup with it. kept: whether it stayed in."""

    score: float
    kept: bool


def average_weights(ingredients: Iterable[Weights], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Return the mean of every tensor, one share of it an ingredient; equal shares without any.

    Summed up in float64 and given back in the type of the first, whose whole numbers (counters of batches) are kept.
    Ingredients are taken one after another, so a generator needs memory for one. Raises RunError where their names or
    shapes differ, and ValueError where shares are negative, sum up to nothing, or are not one an ingredient.
    """
    if shares is not None and (min(shares, default=0.0) < 0 or sum(shares) <= 0):
        raise ValueError(f"shares must not be negative and must sum up to more than 0; found {list(shares)}")
    sums: dict[str, Tensor] | None = None
    first: Weights = {}
    count, total = 0, 0.0
    for count, weights in enumerate(ingredients, start=1):
        if shares is not None and count > len(shares):
            raise ValueError(f"there must be a share for each of the ingredients; found {len(shares)}")
        share = 1.0 if shares is None else shares[count - 1]
        first = first or weights
        sums = _added(sums, weights, share)
        total += share
    if sums is None or (shares is not None and count != len(shares)):
        raise ValueError(f"there must be an ingredient for each share, and one at least; found {count}")
    return _divided(sums, total, first)


def greedy_soup(
    ingredients: Iterable[Weights], score: Callable[[Weights], float]
) -> tuple[dict[str, Tensor], list[Tasting]]:
    """Add ingredients in their order, and keep those that do not lower the score.

    ingredients: the best on validation first; it is always in. score: of weights, on validation, higher is better.
    Returns the soup, and a tasting for each ingredient.
    """
    sums: dict[str, Tensor] | None = None
    soup: dict[str, Tensor] = {}
    first: Weights = {}
    tastings: list[Tasting] = []
    best, kept = float("-inf"), 0
    for weights in ingredients:
        first = first or weights
        candidate_sums = _added(sums, weights, 1.0)
        candidate = _divided(candidate_sums, kept + 1, first)
        found = score(candidate)
        stays = not tastings or found >= best
        tastings.append(Tasting(found, stays))
        if stays:
            sums, soup, best, kept = candidate_sums, candidate, found, kept + 1
    if not tastings:
        raise ValueError("a soup needs one ingredient at least")
    return soup, tastings


def _added(sums: Mapping[str, Tensor] | None, weights: Weights, share: float) -> dict[str, Tensor]:
    scaled = {name: tensor.to(torch.float64) * share for name, tensor in weights.items() if tensor.is_floating_point()}
    if sums is None:
        return scaled
    if scaled.keys() != sums.keys() or any(sums[name].shape != tensor.shape for name, tensor in scaled.items()):
        odd = sorted(scaled.keys() ^ sums.keys()) or [name for name in sums if sums[name].shape != scaled[name].shape]
        raise RunError(f"the weights belong to different models: {len(odd)} tensors do not fit, first {odd[0]}")
    return {name: sums[name] + tensor for name, tensor in scaled.items()}


def _divided(sums: Mapping[str, Tensor], total: float, first: Weights) -> dict[str, Tensor]:
    return {name: (sums[name] / total).to(tensor.dtype) if name in sums else tensor for name, tensor in first.items()}
