"""Paired differences between two results on the same queries."""

from dataclasses import dataclass

import numpy as np

from conspecific.errors import RunError
from conspecific.metrics import METRICS, Interval, paired_interval
from conspecific.types import EvalResult


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two results: `value` minus `other`, with its 95 % interval over the resampled queries."""

    metric: str
    value: float
    other: float
    interval: Interval

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval.low > 0 or self.interval.high < 0


def compare(result: EvalResult, other: EvalResult) -> list[Difference]:
    """Return the paired difference of every metric.

    Queries are resampled; under protocol `unseen`, whole species are, because queries of one species are not
    independent of each other. Raises RunError when the two were not scored on the same queries, or on too few.
    """
    mine, theirs = result.per_query.sort("path"), other.per_query.sort("path")
    if not mine["path"].equals(theirs["path"]):
        common = len(set(mine["path"]) & set(theirs["path"]))
        raise RunError(
            f"the two results have different queries ({mine.height} and {theirs.height}, {common} in common): "
            "a paired difference needs the same test set"
        )
    groups = mine["label"].rank("dense").to_numpy() if result.facts.get("protocol") == "unseen" else None
    differences = []
    for metric in METRICS:
        change = (mine[metric] - theirs[metric]).to_numpy().astype(np.float64)
        try:
            interval = paired_interval(change, groups=groups)
        except ValueError as error:
            raise RunError(f"the two results cannot be compared: {error}") from error
        differences.append(Difference(metric, result.metrics[metric], other.metrics[metric], interval))
    return differences
