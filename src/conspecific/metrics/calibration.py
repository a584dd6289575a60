"""Precision of the answers whose score is at least a threshold."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Hits = NDArray[np.bool_]


def precision_curve(scores: Scores, hits: Hits) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Return the precision of the answers at or above each distinct score, the highest score first.

    scores: [A] finite, higher is nearer. hits: [A], whether each answer is right.
    Returns thresholds [T], the distinct scores, descending; precision [T] in [0, 1]; kept [T], how many answers are at
    or above. Answers of equal score are kept or dropped together, so T <= A. Precision is not monotonic.

    >>> thresholds, precision, kept = precision_curve(np.array([0.9, 0.5, 0.5, 0.2]), np.array([1, 1, 0, 0], bool))
    >>> thresholds.tolist(), precision.round(3).tolist(), kept.tolist()
    ([0.9, 0.5, 0.2], [1.0, 0.667, 0.5], [1, 3, 4])
    """
    if scores.ndim != 1 or scores.shape != hits.shape:
        raise ValueError(f"scores and hits must share [A]; found {scores.shape} and {hits.shape}")
    if (broken := int((~np.isfinite(scores)).sum())) > 0:
        raise ValueError(f"{broken} of {scores.size} scores are not finite")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], np.full(min(1, ranked.size), True)))
    kept = last + 1
    found = np.cumsum(hits[order], dtype=np.int64)[last]
    return ranked[last], found / kept, kept


def threshold_for(scores: Scores, hits: Hits, precision: float) -> float | None:
    """Return the lowest threshold at which the kept answers reach this precision.

    The lowest threshold keeps the most answers. scores, hits: as in `precision_curve`. precision: in (0, 1].
    Returns None if no threshold reaches it, or if there are no answers.

    >>> threshold_for(np.array([0.9, 0.5, 0.4, 0.2]), np.array([1, 0, 1, 0], bool), precision=0.6)
    0.4
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision must be above 0 and at most 1; found {precision}")
    thresholds, reached, _ = precision_curve(scores, hits)
    enough = np.flatnonzero(reached >= precision)
    return float(thresholds[enough[-1]]) if enough.size else None
