"""What a score has been worth on validation: how many answers with it were right, and who reaches it at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from conspecific.evaluation.diagnose import judged
from conspecific.evaluation.rejection import best_scores
from conspecific.evaluation.taxonomy import sure_shares
from conspecific.metrics import threshold_keeping
from conspecific.types import EvalResult

NEAREST = 200


@dataclass(frozen=True, slots=True)
class ScorePrecision:
    """The scores of all answers to the queries of a result, and which were right.

    scores: [A] ascending. right: [A + 1], how many of the first 0, 1 ... A answers in that order were.
    threshold: what the first answers of 95 % of the queries reach, whose species are all in the gallery: below, a query
        is probably of none of the species there, see `rejection`.
    sure: rank -> share of votes from which on an answer is sure, see `taxonomy.sure_shares`; empty without ranks.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.int64]
    threshold: float
    sure: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, result: EvalResult) -> "ScorePrecision":
        """Read the top ten answers of each query, without those of unknown species."""
        _, scores, hits = judged(result)
        order = np.argsort(scores, kind="stable")
        right = np.append(0, np.cumsum(hits[order], dtype=np.int64))
        return cls(scores[order], right, threshold_keeping(best_scores(result)), sure_shares(result))

    def near(self, score: float) -> float | None:
        """Return the share of right ones among the NEAREST answers whose scores are around this score, half of them
        below it; at either end, among the last ones. None without answers.

        >>> found = ScorePrecision(np.array([0.1, 0.2, 0.8]), np.array([0, 0, 0, 1]), 0.8)
        >>> found.near(0.5) == 1 / 3
        True
        """
        count = len(self.scores)
        if not count:
            return None
        width = min(NEAREST, count)
        start = int(np.searchsorted(self.scores, score)) - width // 2
        start = min(max(start, 0), count - width)
        return float(self.right[start + width] - self.right[start]) / width
