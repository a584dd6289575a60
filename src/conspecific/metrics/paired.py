"""How sure a mean over queries is: the bootstrap, paired because both models answer the same queries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# 2^20 draws are 8 MB of indices: a block that stays in cache, however many queries and resamples there are.
BLOCK_DRAWS = 2**20


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its bootstrap interval, in the unit of what was averaged."""

    mean: float
    low: float
    high: float


def paired_interval(
    difference: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean difference (Efron and Tibshirani 1993, chapter 13).

    difference: [Q] finite, model - baseline for each query; one run's own values give the interval of its metric.
    groups: [Q] the species of each query; whole species are then resampled, with replacement, because queries of one
        species are not independent. A resample's mean is over its queries: a ratio of sums (Davison and Hinkley 1997,
        section 3.8). Without groups each query is resampled by itself.
    The same seed gives the same resamples, so the intervals of several metrics of the same queries belong together.
    Raises ValueError with fewer than two units to resample: one unit says nothing of how units vary.

    >>> better = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    >>> paired_interval(better)
    Interval(mean=0.5, low=0.125, high=0.875)
    """
    _require_usable(difference, groups, resamples, confidence)
    sums, sizes = _units(difference, groups)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, BLOCK_DRAWS // sums.size)
    for start in range(0, resamples, step):
        draws = rng.integers(sums.size, size=(min(step, resamples - start), sums.size))
        means[start : start + step] = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def _units(
    difference: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of queries of each unit that is resampled: [U], [U]."""
    sums, sizes = difference, np.ones(len(difference))
    if groups is not None:
        unit = np.unique(groups, return_inverse=True)[1]
        sums, sizes = np.bincount(unit, difference).astype(np.float64), np.bincount(unit).astype(np.float64)
    if sums.size < 2:
        kind = "queries" if groups is None else "groups"
        raise ValueError(f"an interval needs at least 2 {kind} to resample; found {sums.size}")
    return sums, sizes


def _require_usable(
    difference: NDArray[np.float64], groups: NDArray[np.int64] | None, resamples: int, confidence: float
) -> None:
    if difference.ndim != 1:
        raise ValueError(f"differences must be of shape [Q]; found {difference.shape}")
    if groups is not None and groups.shape != difference.shape:
        raise ValueError(f"groups must be of shape {difference.shape}, one for each query; found {groups.shape}")
    if (broken := int((~np.isfinite(difference)).sum())) > 0:
        raise ValueError(f"{broken} of {difference.size} differences are not finite")
    if resamples < 1 or not 0 < confidence < 1:
        found = f"{resamples} and {confidence}"
        raise ValueError(f"resamples must be at least 1 and confidence between 0 and 1; found {found}")
