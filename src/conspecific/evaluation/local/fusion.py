"""How the score of the embeddings and that of matching local descriptors become one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conspecific.errors import DataError, RunError
from conspecific.types import FloatArray


@dataclass(frozen=True)
class Fusion:
    """The fused score is the log-odds of a right answer but for a constant. weights, means: of both scores, [2]."""

    weights: FloatArray
    means: FloatArray

    @classmethod
    def fit(cls, scores: FloatArray, local: FloatArray, right: FloatArray) -> "Fusion":
        """Fit a logistic regression of which answers were right, on both scores; all [A].

        Raises DataError where all of the answers were right, or none.
        """
        if len(np.unique(right)) < 2:
            raise DataError("local re-ranking is calibrated on validation, where all answers were right, or none")
        from sklearn.linear_model import LogisticRegression  # takes a second

        both = np.stack([scores, local], axis=1)
        means, scales = both.mean(axis=0), np.maximum(both.std(axis=0), 1e-12)
        fitted = LogisticRegression(C=1e4).fit((both - means) / scales, right)
        return cls((fitted.coef_[0] / scales).astype(np.float32), means.astype(np.float32))

    def __call__(self, scores: FloatArray, local: FloatArray) -> FloatArray:
        fused = (np.stack([scores, local], axis=-1) - self.means) @ self.weights
        return fused.astype(np.float32)

    def to_json(self) -> dict[str, list[float]]:
        """Plain values, for a file."""
        return {"weights": self.weights.tolist(), "means": self.means.tolist()}

    @classmethod
    def from_json(cls, stored: Any) -> "Fusion":
        """Read what `to_json` returned. Raises RunError for anything else."""
        given = [stored.get(name) for name in ("weights", "means")] if isinstance(stored, Mapping) else []
        pairs = [pair for pair in given if isinstance(pair, list) and list(map(type, pair)) == [float, float]]
        if len(pairs) != 2 or not np.isfinite(pairs).all():
            raise RunError(f"a fusion has two weights and two means; found {stored!r}")
        return cls(*np.array(pairs, np.float32))
