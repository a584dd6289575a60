"""Retrieval metrics, one value for each query; the caller chooses the queries and takes the mean.

Every metric takes the result of a search from which each query itself was excluded:

hits: [Q, K] bool, nearest first, True if the neighbour is a positive; False if there were fewer than K neighbours.
positives: [Q] int64, at least 1: R, the positives of each query in the whole gallery.
first_rank: [Q] int64, at least 1: the rank of the first positive in the whole gallery, which may exceed K.
"""

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]

BLOCK_HITS = 1 << 20  # whose precisions are held at once: 16 MB


def recall_at_k(hits: Hits, k: int) -> Values:
    """1 if any of the top k is a positive, else 0: the recall of metric learning (Song et al. 2016, arXiv:1511.06452).

    hits: [Q, K], K >= k. Returns [Q], each 0 or 1.

    >>> recall_at_k(np.array([[False, True, False], [False, False, True]]), k=2).tolist()
    [1.0, 0.0]
    """
    found: Counts = np.count_nonzero(_top(hits, k), axis=1)
    return (found > 0).astype(np.float64)


def precision_at_k(hits: Hits, k: int) -> Values:
    """Hits in the top k / k, also if R or the gallery is smaller than k (Manning et al. 2008, section 8.4).

    hits: [Q, K], K >= k. Returns [Q], each in [0, 1]; at most R / k.

    >>> precision_at_k(np.array([[True, True, False, True]]), k=4).tolist()
    [0.75]
    """
    found: Counts = np.count_nonzero(_top(hits, k), axis=1)
    return found / k


def r_precision(hits: Hits, positives: Counts) -> Values:
    """Hits in the top R / R, the rank at which precision and recall are equal (Manning et al. 2008, section 8.4).

    hits: [Q, K], K >= the largest R. positives: [Q]. Returns [Q], each in [0, 1].

    >>> r_precision(np.array([[True, False, True], [True, True, False]]), np.array([3, 1])).round(3).tolist()
    [0.667, 1.0]
    """
    found: Counts = np.count_nonzero(_hits_within_r(hits, positives), axis=1)
    return found / positives


def map_at_r(hits: Hits, positives: Counts) -> Values:
    """Sum over the hits within the top R of the precision at their rank, / R (Musgrave et al. 2020, arXiv:2003.08505).

    At most R-precision; 1 only if all R positives come first.
    hits: [Q, K], K >= the largest R. positives: [Q]. Returns [Q], each in [0, 1].

    Ranks 1 and 3 of R = 3 are hits, so (1/1 + 2/3) / 3:

    >>> map_at_r(np.array([[True, False, True]]), np.array([3])).round(4).tolist()
    [0.5556]
    """
    within = _hits_within_r(hits, positives)
    total = np.empty(len(within))
    step = max(1, BLOCK_HITS // max(1, within.shape[1]))
    for start in range(0, len(within), step):
        block = within[start : start + step]
        precision = block.cumsum(axis=1) / np.arange(1, block.shape[1] + 1)
        total[start : start + step] = precision.sum(axis=1, where=block)
    return total / positives


def reciprocal_rank(first_rank: Counts) -> Values:
    """1 / rank of the first positive; its mean is MRR (Voorhees 1999, TREC-8).

    first_rank: [Q], at least 1. Returns [Q], each in (0, 1].

    >>> reciprocal_rank(np.array([1, 4])).tolist()
    [1.0, 0.25]
    """
    require_positives(first_rank)
    return 1.0 / first_rank


def ndcg_at_k(hits: Hits, positives: Counts, k: int) -> Values:
    """Sum over the hits within the top k of 1 / log2(1 + rank), / the same sum if min(R, k) hits come first.

    Normalised discounted cumulative gain (Jarvelin and Kekalainen 2002, ACM TOIS 20) with gains 0 and 1 and the
    discount of Burges et al. 2005 (ICML), which is in use today; the original was 1 / max(1, log2(rank)).
    hits: [Q, K], K >= k. positives: [Q]. Returns [Q], each in [0, 1]; 1 only if min(R, k) hits come first.

    Ranks 1 and 3 of R = 2 are hits, so (1 + 1/2) / (1 + 1/log2(3)):

    >>> ndcg_at_k(np.array([[True, False, True, False]]), np.array([2]), k=4).round(4).tolist()
    [0.9197]
    """
    top = _top(hits, k)
    require_one_each("positives", positives, hits)
    require_positives(positives)
    discount = 1 / np.log2(np.arange(2, k + 2))
    # summed in the order of `ideal`, so that a perfect ranking gives exactly 1
    gain: Values = (top * discount).cumsum(axis=1)[:, -1]
    ideal: Values = discount.cumsum()[np.minimum(positives, k) - 1]
    return gain / ideal


def macro_mean(values: Values, species: Counts) -> float:
    """Return the mean over species of the mean over their queries; the mean over all queries is the micro mean.

    Every species counts equally, however many queries it has (macro-averaging, Manning et al. 2008, section 13.6).
    values: [Q]. species: [Q] int64, any numbers. Returns a mean in the range of the values.
    Raises ValueError if there is no query, or not one species for each.

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


def _top(hits: Hits, k: int) -> Hits:
    """The first k columns: [Q, k]."""
    if not 1 <= k <= hits.shape[1]:
        raise ValueError(f"k must be from 1 to the {hits.shape[1]} neighbours that were searched; found {k}")
    return hits[:, :k]


def _hits_within_r(hits: Hits, positives: Counts) -> Hits:
    """Return the hits within the top R of each query, False beyond R: [Q, largest R]."""
    require_one_each("positives", positives, hits)
    require_positives(positives)
    largest = int(positives.max(initial=0))
    if hits.shape[1] < largest:
        raise ValueError(f"the query with most positives needs {largest} neighbours; found {hits.shape[1]}")
    return hits[:, :largest] & (np.arange(largest) < positives[:, None])


def require_one_each(name: str, counts: Counts, hits: Hits) -> None:
    if counts.shape != (len(hits),):
        raise ValueError(f"{name} must be of shape {(len(hits),)}, one for each query; found {counts.shape}")


def require_positives(counts: Counts) -> None:
    """Raise ValueError if a query has no positive: it has no score, and the caller must exclude it."""
    if (lone := int((counts < 1).sum())) > 0:
        raise ValueError(f"{lone} of {counts.size} queries have no positive in the gallery: leave them out first")
