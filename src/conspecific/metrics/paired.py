"""Bootstrap intervals and randomisation tests of mean differences; paired, as both models answer the same queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Differences = NDArray[np.float64]
Groups = NDArray[np.int64]

# 2^20 draws are 8 MB of counts: a block that stays in cache, however many queries and resamples there are.
BLOCK_DRAWS = 2**20


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its interval, in the unit of what was averaged."""

    mean: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether the interval contains zero."""
        return self.low <= 0 <= self.high


def paired_intervals(
    differences: Differences,
    groups: Groups | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Percentile bootstrap interval of each mean difference (Efron and Tibshirani 1993, chapter 13).

    differences: [Q, M] finite, model - baseline for each query and metric; one run's own values give the intervals of
        its metrics. All M are resampled together, so their intervals belong together.
    groups: [Q] the species of each query; whole species are then resampled, with replacement, because queries of one
        species are not independent. A resample's mean is over its queries: a ratio of sums (Davison and Hinkley 1997,
        section 3.8). Without groups each query is resampled by itself.
    Raises ValueError with fewer than two units to resample: one unit says nothing of how units vary.

    >>> better = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    >>> paired_intervals(better[:, None])
    [Interval(mean=0.5, low=0.125, high=0.875)]
    """
    _require_usable(differences, groups)
    if resamples < 1 or not 0 < confidence < 1:
        found = f"{resamples} and {confidence}"
        raise ValueError(f"resamples must be at least 1 and confidence between 0 and 1; found {found}")
    sums, sizes = _units(differences, groups)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    step = max(1, BLOCK_DRAWS // len(sums))
    for start in range(0, resamples, step):
        counts = _drawn(rng, min(step, resamples - start), len(sums))
        means[start : start + step] = (counts @ sums) / (counts @ sizes)[:, None]
    bounds = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [Interval(*map(float, found)) for found in zip(differences.mean(axis=0), *bounds, strict=True)]


def standard_error(differences: Differences, groups: Groups | None = None) -> NDArray[np.float64]:
    """Return the standard error of each mean difference, [M].

    differences: [Q, M] finite. groups: [Q] the species of each query: the mean is then a ratio of two sums over whole
    species, the difference and the number of queries, whose error is linearized (Cochran 1977, section 6.4). Raises
    ValueError with fewer than two units: one unit says nothing of how units vary.

    >>> standard_error(np.array([[1.0], [0.0], [0.0], [1.0]])).round(3).tolist()
    [0.289]
    """
    _require_usable(differences, groups)
    sums, sizes = _units(differences, groups)
    residuals = sums - sizes[:, None] * differences.mean(axis=0)
    units = len(sums)
    found: NDArray[np.float64] = np.sqrt((residuals**2).sum(axis=0) * units / (units - 1)) / len(differences)
    return found


def sign_flip_test(
    differences: Differences, groups: Groups | None = None, permutations: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """Two-sided p-value of each mean difference by Fisher's randomisation (Smucker et al. 2007, CIKM).

    Under the null hypothesis the sign of each difference is random. Signs are flipped at random, and the p-value is the
    share of flips whose mean is at least as far from zero as the observed one, (1 + such flips) / (1 + permutations),
    so never 0. For metrics of 0 and 1 it is McNemar's test.

    differences: [Q, M] finite. groups: [Q] the species of each query, whose signs are flipped together; with few groups
    the p-value cannot be small: at least 2 / 2^groups. Returns [M]. Raises ValueError with fewer than two units.

    >>> sign_flip_test(np.array([[0.2, 0.1], [0.3, -0.1], [0.1, 0.0], [0.2, 0.1], [0.4, -0.1]])).round(1).tolist()
    [0.1, 1.0]
    """
    _require_usable(differences, groups)
    sums, _ = _units(differences, groups)
    observed = np.abs(sums.sum(axis=0))
    observed -= 1e-9 * np.abs(sums).sum(axis=0)  # equal sums count as equal, whatever the order of summation
    rng = np.random.default_rng(seed)
    as_far = np.zeros(sums.shape[1], np.int64)
    step = max(1, BLOCK_DRAWS // len(sums))
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        bits = np.frombuffer(rng.bytes(-(-rows * len(sums) // 8)), np.uint8)
        kept = np.unpackbits(bits)[: rows * len(sums)].reshape(rows, len(sums)).astype(np.float64)
        as_far += (np.abs(2 * (kept @ sums) - sums.sum(axis=0)) >= observed).sum(axis=0)
    return (1 + as_far) / (1 + permutations)


def resampled_counts(units: Sequence[Groups], resamples: int, seed: int = 0) -> Iterator[list[NDArray[np.float64]]]:
    """Yield blocks of bootstrap resamples of several sets of queries, each drawn by itself: for statistics that are no
    means, see `paired_intervals`.

    units: of each set, [Q] numbers of what is resampled as one. Yields of each set how often its queries are drawn,
    [B, Q]; the blocks have `resamples` rows in all.

    >>> [counts] = next(resampled_counts([np.array([0, 0, 1])], 4))
    >>> counts.shape, (counts[:, 0] == counts[:, 1]).all().item(), counts[:, 1:].sum(axis=1).tolist()
    ((4, 3), True, [2.0, 2.0, 2.0, 2.0])
    """
    rng = np.random.default_rng(seed)
    places = [np.unique(each, return_inverse=True)[1] for each in units]
    step = max(1, BLOCK_DRAWS // max(1, *(len(each) for each in places)))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        yield [_drawn(rng, rows, int(each.max()) + 1)[:, each] for each in places]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several comparisons to control the family-wise error rate (Holm 1979).

    Returns them in the given order, each in [0, 1] and at least as large as the p-value given.

    >>> [round(value, 6) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(value) for value in adjusted[np.argsort(order)]]


def _drawn(rng: np.random.Generator, rows: int, units: int) -> NDArray[np.float64]:
    """Return how often each unit is drawn in each of `rows` resamples: [rows, units], each row summing to `units`."""
    draws = rng.integers(units, size=(rows, units), dtype=np.int32).astype(np.intp)
    draws += np.arange(rows)[:, None] * units
    counts: NDArray[np.float64] = np.bincount(draws.ravel(), minlength=rows * units).reshape(rows, units).astype(float)
    return counts


def _units(differences: Differences, groups: Groups | None) -> tuple[Differences, NDArray[np.float64]]:
    """Sums and number of queries of each unit that is resampled or flipped: [U, M], [U]."""
    sums, sizes = differences, np.ones(len(differences))
    if groups is not None:
        species, unit = np.unique(groups, return_inverse=True)
        sums, sizes = np.zeros((species.size, differences.shape[1])), np.bincount(unit).astype(np.float64)
        np.add.at(sums, unit, differences)
    if len(sums) < 2:
        kind = "queries" if groups is None else "groups"
        raise ValueError(f"a paired comparison needs at least 2 {kind}; found {len(sums)}")
    return sums, sizes


def _require_usable(differences: Differences, groups: Groups | None) -> None:
    if differences.ndim != 2:
        raise ValueError(f"differences must be of shape [Q, M]; found {differences.shape}")
    if groups is not None and groups.shape != differences.shape[:1]:
        raise ValueError(f"groups must be of shape {differences.shape[:1]}, one for each query; found {groups.shape}")
    if (broken := int((~np.isfinite(differences)).sum())) > 0:
        raise ValueError(f"{broken} of {differences.size} differences are not finite")
