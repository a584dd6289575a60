"""Hubness: how unevenly gallery images occur among the neighbours of the queries."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def k_occurrence(neighbor_ids: NDArray[np.int64], gallery_ids: NDArray[np.int64]) -> Counts:
    """Return how many queries have each gallery image among their K neighbours (Radovanovic et al. 2010, JMLR 11).

    neighbor_ids: [Q, K] sample ids, -1 if there was no neighbour. gallery_ids: [N], each once, in any order.
    Returns [N], in the order of gallery_ids; their sum is the number of neighbours.
    Raises ValueError if a neighbour is not in the gallery.

    >>> k_occurrence(np.array([[7, 8], [7, 9], [8, 7], [9, -1]]), np.array([9, 8, 7, 6])).tolist()
    [2, 2, 3, 0]
    """
    found, counts = np.unique(neighbor_ids[neighbor_ids >= 0], return_counts=True)
    order = np.argsort(gallery_ids)
    places = np.searchsorted(gallery_ids, found, sorter=order)
    missing = found[~np.isin(found, gallery_ids)]
    if missing.size:
        raise ValueError(f"{missing.size} neighbours are not in the gallery, first sample ids {missing[:5].tolist()}")
    occurrence = np.zeros(len(gallery_ids), np.int64)
    occurrence[order[places]] = counts
    return occurrence


def skewness(counts: Counts) -> float:
    """Third central moment / third power of the standard deviation: how far a few counts stand out above the rest.

    Of k-occurrences it is the measure of hubness of Radovanovic et al. 2010. Answers drawn at random have a skewness of
    about 1 / sqrt(mean count), 0.3 for a mean of 10; more is hubs, less than 0 that most are equal and a few left out.
    Moments are those of the counts themselves, without correction for a sample, as scipy.stats.skew has them.
    counts: [N], N >= 1. Returns at most (N - 2) / sqrt(N - 1); 0 where all are equal.

    >>> skewness(np.array([1, 1, 1, 1, 6]))
    1.5
    """
    if counts.size == 0:
        raise ValueError("skewness needs at least 1 count; found none")
    if counts.min() == counts.max():
        return 0.0
    deviation = counts - counts.mean()
    return float(np.mean(deviation**3) / np.mean(deviation**2) ** 1.5)
