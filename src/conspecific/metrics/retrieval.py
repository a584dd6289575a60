"""Retrieval metrics, one value a query: which queries count is the caller's to say, as is which mean to take.

Every metric takes what a search left behind, the query itself already left out:

hits: [Q, K] bool, True where the neighbour is a positive, nearest first; False where there were fewer than K.
positives: [Q] int64, at least 1: R, the positives of each query in the whole gallery.
first_rank: [Q] int64, at least 1: the rank of the first positive in the whole gallery, also where it lies beyond K.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def recall_at_k(hits: Hits, k: int) -> Values:
    """1 where any of the top k is a positive, else 0: metric learning's recall (Song et al. 2016, arXiv:1511.06452).

    hits: [Q, K], K >= k. Returns [Q], each 0 or 1.

    >>> recall_at_k(np.array([[False, True, False], [False, False, True]]), k=2).tolist()
    [1.0, 0.0]
    """
    found: Counts = np.count_nonzero(_top(hits, k), axis=1)
    return (found > 0).astype(np.float64)


def precision_at_k(hits: Hits, k: int) -> Values:
    """Hits in the top k / k, with k as given even where R or the gallery is smaller (Manning et al. 2008, section 8.4).

    hits: [Q, K], K >= k. Returns [Q], each in [0, 1]; at most R / k.

    >>> precision_at_k(np.array([[True, True, False, True]]), k=4).tolist()
    [0.75]
    """
    found: Counts = np.count_nonzero(_top(hits, k), axis=1)
    return found / k


def r_precision(hits: Hits, positives: Counts) -> Values:
    """Hits in the top R / R: precision and recall where they are equal (Manning et al. 2008, section 8.4).

    hits: [Q, K], K >= the largest R. positives: [Q]. Returns [Q], each in [0, 1].

    >>> r_precision(np.array([[True, False, True], [True, True, False]]), np.array([3, 1])).round(3).tolist()
    [0.667, 1.0]
    """
    found: Counts = np.count_nonzero(_hits_within_r(hits, positives), axis=1)
    return found / positives


def map_at_r(hits: Hits, positives: Counts) -> Values:
    """Sum over the hits within the top R of the precision at their rank, / R (Musgrave et al. 2020, arXiv:2003.08505).

    Never above R-precision; 1 only where all R positives come first.
    hits: [Q, K], K >= the largest R. positives: [Q]. Returns [Q], each in [0, 1].

    Ranks 1 and 3 of R = 3 are hits, so (1/1 + 2/3) / 3:

    >>> map_at_r(np.array([[True, False, True]]), np.array([3])).round(4).tolist()
    [0.5556]
    """
    within = _hits_within_r(hits, positives)
    precision = within.cumsum(axis=1) / np.arange(1, within.shape[1] + 1)
    total: Values = precision.sum(axis=1, where=within)
    return total / positives


def reciprocal_rank(first_rank: Counts) -> Values:
    """1 / rank of the first positive; its mean is MRR (Voorhees 1999, TREC-8).

    first_rank: [Q], at least 1. Returns [Q], each in (0, 1].

    >>> reciprocal_rank(np.array([1, 4])).tolist()
    [1.0, 0.25]
    """
    _require_positives(first_rank)
    return 1.0 / first_rank


def ndcg_at_k(hits: Hits, positives: Counts, k: int) -> Values:
    """Sum over the hits within the top k of 1 / log2(1 + rank), / the same sum had min(R, k) hits come first.

    Normalised discounted cumulative gain (Jarvelin and Kekalainen 2002, ACM TOIS 20) of gains 0 and 1, with the
    discount of Burges et al. 2005 (ICML), which is today's; theirs was 1 / max(1, log2(rank)).
    hits: [Q, K], K >= k. positives: [Q]. Returns [Q], each in [0, 1]; 1 only where min(R, k) hits come first.

    Ranks 1 and 3 of R = 2 are hits, so (1 + 1/2) / (1 + 1/log2(3)):

    >>> ndcg_at_k(np.array([[True, False, True, False]]), np.array([2]), k=4).round(4).tolist()
    [0.9197]
    """
    top = _top(hits, k)
    _require_one_each("positives", positives, hits)
    _require_positives(positives)
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain: Values = (top * discount).cumsum(axis=1)[:, -1]  # added in the order of `ideal`, so that perfect is exactly 1
    ideal: Values = discount.cumsum()[np.minimum(positives, k) - 1]
    return gain / ideal


def macro_mean(values: Values, species: Counts) -> float:
    """The mean over species of the mean over each one's queries, where the plain mean over queries is the micro mean.

    A species with few queries counts as much as one with many (macro-averaging, Manning et al. 2008, section 13.6).
    values: [Q]. species: [Q] int64, any numbers. Returns a mean in the range of the values.
    Raises ValueError where there is no query, or not one species for each.

    >>> macro_mean(np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 9]))
    0.5
    """
    if values.ndim != 1 or values.shape != species.shape:
        raise ValueError(f"values and species must share [Q]; found {values.shape} and {species.shape}")
    if values.size == 0:
        raise ValueError("a mean over species needs at least 1 query; found none")
    number = np.unique(species, return_inverse=True)[1]
    means = np.bincount(number, values) / np.bincount(number)
    return float(means.mean())


Metric = Callable[[Hits, Counts, Counts], Values]

# Every metric by the name it is reported under, in the order it is reported in.
METRICS: Mapping[str, Metric] = {
    "recall@1": lambda hits, positives, first_rank: recall_at_k(hits, 1),
    "recall@5": lambda hits, positives, first_rank: recall_at_k(hits, 5),
    "recall@10": lambda hits, positives, first_rank: recall_at_k(hits, 10),
    "precision@10": lambda hits, positives, first_rank: precision_at_k(hits, 10),
    "r_precision": lambda hits, positives, first_rank: r_precision(hits, positives),
    "map@r": lambda hits, positives, first_rank: map_at_r(hits, positives),
    "mrr": lambda hits, positives, first_rank: reciprocal_rank(first_rank),
    "ndcg@10": lambda hits, positives, first_rank: ndcg_at_k(hits, positives, 10),
}


def score_queries(hits: Hits, positives: Counts, first_rank: Counts) -> dict[str, Values]:
    """Every metric of every query.

    hits: [Q, K], K >= 10 and >= the largest R. positives, first_rank: [Q]. Returns arrays [Q], each in [0, 1].

    >>> hits = np.zeros((2, 10), dtype=bool)
    >>> hits[0, 1] = True
    >>> scores = score_queries(hits, np.array([2, 1]), np.array([2, 11]))
    >>> {name: values.round(3).tolist() for name, values in scores.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'recall@1': [0.0, 0.0], 'recall@5': [1.0, 0.0], 'recall@10': [1.0, 0.0], 'precision@10': [0.1, 0.0],
     'r_precision': [0.5, 0.0], 'map@r': [0.25, 0.0], 'mrr': [0.5, 0.091], 'ndcg@10': [0.387, 0.0]}
    """
    _require_one_story(hits, positives, first_rank)
    return {name: metric(hits, positives, first_rank) for name, metric in METRICS.items()}


def _top(hits: Hits, k: int) -> Hits:
    """The first k columns: [Q, k]."""
    if not 1 <= k <= hits.shape[1]:
        raise ValueError(f"k must be from 1 to the {hits.shape[1]} neighbours that were searched; found {k}")
    return hits[:, :k]


def _hits_within_r(hits: Hits, positives: Counts) -> Hits:
    """The hits of each query's own top R, False beyond it: [Q, largest R]."""
    _require_one_each("positives", positives, hits)
    _require_positives(positives)
    largest = int(positives.max(initial=0))
    if hits.shape[1] < largest:
        raise ValueError(f"the query with most positives needs {largest} neighbours; found {hits.shape[1]}")
    return hits[:, :largest] & (np.arange(largest) < positives[:, None])


def _require_one_each(name: str, counts: Counts, hits: Hits) -> None:
    if counts.shape != (len(hits),):
        raise ValueError(f"{name} must be of shape {(len(hits),)}, one for each query; found {counts.shape}")


def _require_positives(counts: Counts) -> None:
    """A query without a positive has no score: leaving it out, and saying so, is the caller's."""
    if (lone := int((counts < 1).sum())) > 0:
        raise ValueError(f"{lone} of {counts.size} queries have no positive in the gallery: leave them out first")


def _require_one_story(hits: Hits, positives: Counts, first_rank: Counts) -> None:
    """Counts that contradict the hits come from another search, another order of queries, or a query among its hits."""
    for name, counts in (("positives", positives), ("first_rank", first_rank)):
        _require_one_each(name, counts, hits)
    _require_positives(positives)
    width = hits.shape[1]
    seen = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, width + 1)
    if (wrong := int((np.minimum(first_rank, width + 1) != seen).sum())) > 0:
        raise ValueError(f"first_rank contradicts the hits of {wrong} of {len(hits)} queries")
    if (over := int((np.count_nonzero(hits, axis=1) > positives).sum())) > 0:
        raise ValueError(f"{over} of {len(hits)} queries have more hits than positives; is it its own hit?")
