"""Telling queries of known species from those of new ones, which the gallery does not hold, by their best score.

A query is kept where the score of its first answer is at least a threshold, else it is refused. Every function takes:

known: [K] finite, the best score of each query whose species is in the gallery; higher is nearer.
right: [K], whether its first answer is of its species.
new: [N] finite, the best score of each query whose species is not.
known_weights, new_weights: [B, K] and [B, N], how often each query counts in each of B resamples; each row has a sum
    above 0.
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Hits = NDArray[np.bool_]
Weights = NDArray[np.float64]

TPR = 0.95  # share of the known that is kept at the threshold of `fpr_at_tpr`


def auroc(known: Scores, new: Scores, known_weights: Weights, new_weights: Weights) -> Scores:
    """Probability that a known query has a higher score than a new one, ties counting half.

    The area under the receiver operating characteristic (Hendrycks and Gimpel 2017, arXiv:1610.02136). Returns [B] in
    [0, 1]: 0.5 by chance.

    >>> auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1]), np.ones((1, 2)), np.ones((1, 2))).tolist()
    [0.875]
    """
    found: Scores = _above(known, new, known_weights, new_weights) / known_weights.sum(axis=1)
    return found


def oscr(known: Scores, right: Hits, new: Scores, known_weights: Weights, new_weights: Weights) -> Scores:
    """Probability that a known query has a right first answer, and a higher score than a new query.

    The area under the open-set classification rate curve (Dhamija, Guenther and Boult 2018, arXiv:1811.04110): the
    share of known queries that are kept and answered rightly over the share of new ones that are kept, at every
    threshold. Returns [B] in [0, 1]: at most recall@1, and at most AUROC.

    >>> known, new, ones = np.array([0.9, 0.5]), np.array([0.5, 0.1]), np.ones((1, 2))
    >>> oscr(known, np.array([True, False]), new, ones, ones).tolist()
    [0.5]
    """
    found: Scores = _above(known[right], new, known_weights[:, right], new_weights) / known_weights.sum(axis=1)
    return found


def fpr_at_tpr(known: Scores, new: Scores, known_weights: Weights, new_weights: Weights) -> Scores:
    """Share of the new queries that are kept where at least 95 % of the known ones are, at the highest such threshold.

    The false positive rate at a true positive rate of 95 % (Liang et al. 2018, arXiv:1706.02690). Returns [B] in
    [0, 1], lower is better: 0.95 by chance.

    >>> known, new = np.linspace(0, 1, 21), np.array([0.01, 0.04, 0.2, 0.9])
    >>> fpr_at_tpr(known, new, np.ones((1, 21)), np.ones((1, 4))).tolist()
    [0.5]
    """
    order = np.argsort(-known, kind="stable")
    reached = known_weights[:, order].cumsum(axis=1)
    place = (reached >= TPR * reached[:, -1:] - 1e-9).argmax(axis=1)
    threshold = known[order][place]
    ascending = np.argsort(new, kind="stable")
    below = _cumulated(new_weights[:, ascending])
    refused = below[np.arange(len(below)), np.searchsorted(new[ascending], threshold, "left")]
    return np.asarray(1 - refused / below[:, -1])


def threshold_keeping(known: Scores, share: float = TPR) -> float:
    """Return the highest threshold that keeps at least a share of the known queries.

    share: above 0, at most 1. Raises ValueError without queries.

    >>> threshold_keeping(np.array([0.9, 0.8, 0.7, 0.2]), share=0.75)
    0.7
    """
    if known.ndim != 1 or not known.size or not 0 < share <= 1:
        raise ValueError(
            f"a threshold needs scores [K] and a share above 0, at most 1; found {known.shape} and {share}"
        )
    return float(np.sort(known)[::-1][int(np.ceil(share * len(known) - 1e-9)) - 1])


def rejection_curve(known: Scores, new: Scores) -> tuple[Scores, Scores, Scores]:
    """Return thresholds [T], ascending, and the shares of known and of new queries that each refuses, [T] in [0, 1].

    The first threshold refuses none; a last one, above all scores, refuses all.

    >>> thresholds, known, new = rejection_curve(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
    >>> thresholds.tolist(), known.tolist(), new.tolist()
    ([0.1, 0.5, 0.9, inf], [0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    thresholds = np.append(np.unique(np.concatenate([known, new])), np.inf)
    refused = [np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores) for scores in (known, new)]
    return thresholds, refused[0], refused[1]


def _above(known: Scores, new: Scores, known_weights: Weights, new_weights: Weights) -> Scores:
    """Return the weight of the known queries above a new one, half of it where they tie; a mean over new ones, [B]."""
    order = np.argsort(known, kind="stable")
    below = _cumulated(known_weights[:, order])
    low, high = (np.searchsorted(known[order], new, side) for side in ("left", "right"))
    above = below[:, -1:] - (below[:, low] + below[:, high]) / 2
    return np.asarray((above * new_weights).sum(axis=1) / new_weights.sum(axis=1))


def _cumulated(weights: Weights) -> Weights:
    """Return the sums of the first 0, 1 ... columns: [B, columns + 1]."""
    return np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(axis=1)], axis=1)
