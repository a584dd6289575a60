"""What a score has been worth: the precision of validation answers with such a score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conspecific.evaluation.diagnose import judged
from conspecific.metrics import threshold_for
from conspecific.types import EvalResult

WANTED = 0.95
NEAREST = 200


@dataclass(frozen=True, slots=True)
class ScorePrecision:
    """The scores of all answers to the queries of a result, and which were right.

    scores: [A] ascending. right: [A + 1], how many of the first 0, 1 ... A answers in that order were.
    threshold: the lowest score from which on a share of WANTED of the answers was right; None for no such score.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.int64]
    threshold: float | None

    @classmethod
    def of(cls, result: EvalResult) -> "ScorePrecision":
        """Read the top ten answers of each query, without those of unknown species."""
        _, scores, hits = judged(result)
        order = np.argsort(scores, kind="stable")
        right = np.append(0, np.cumsum(hits[order], dtype=np.int64))
        return cls(scores[order], right, threshold_for(scores, hits, WANTED))

    def near(self, score: float) -> float | None:
        """Return the share of right ones among the NEAREST answers whose scores are around this score, half of them
        below it; at either end, among the last ones. None without answers.

        >>> found = ScorePrecision(np.array([0.1, 0.2, 0.8]), np.array([0, 0, 0, 1]), None)
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
