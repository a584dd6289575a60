"""Paired differences between two results on the same queries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from conspecific.errors import RunError
from conspecific.metrics import Interval, paired_intervals, sign_flip_test
from conspecific.types import EvalResult


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two results on the same queries: `value` minus `other`.

    by_query, by_species: the mean difference with its 95 % bootstrap interval, queries or whole species resampled.
    over_species: which of the two is to be believed: species where they are new to the encoder (`unseen`), because
        queries of one species are not independent of each other; queries where every species was trained on.
    p_value: of the sign-flip test, whole species flipped where `over_species`.
    won, lost, unchanged: queries for which the metric rose, fell, stayed.
    """

    metric: str
    value: float
    other: float
    by_query: Interval
    by_species: Interval
    over_species: bool
    p_value: float
    won: int
    lost: int
    unchanged: int

    @property
    def interval(self) -> Interval:
        """The interval to be believed."""
        return self.by_species if self.over_species else self.by_query

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.interval.holds_zero

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of what `to_json` gave."""
        intervals = {name: Interval(**stored[name]) for name in ("by_query", "by_species")}
        return cls(**{**stored, **intervals})


def compare(result: EvalResult, other: EvalResult) -> list[Difference]:
    """Return the paired difference of every metric that both results have.

    Raises RunError when the two were not scored on the same queries, or on too few of them or of their species.
    """
    metrics = [name for name in result.metrics if name in other.metrics]
    queries, mine, theirs = paired_values(result.per_query, other.per_query, metrics)
    over_species = result.facts.get("protocol") == "unseen"
    return differences(metrics, queries["label"], mine, theirs, over_species)


def paired_values(
    table: pl.DataFrame, other: pl.DataFrame, metrics: Sequence[str]
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Align two per-query tables by path: the queries (path, label), and the metrics of both, [Q, M] each.

    Raises RunError when the two hold different queries.
    """
    mine, theirs = table.sort("path"), other.sort("path")
    if not mine["path"].equals(theirs["path"]):
        common = len(set(mine["path"]) & set(theirs["path"]))
        raise RunError(
            f"the two results have different queries ({mine.height} and {theirs.height}, {common} in common): "
            "a paired difference needs the same test set"
        )
    values = [found.select(metrics).cast(pl.Float64).to_numpy() for found in (mine, theirs)]
    return mine.select("path", "label"), values[0], values[1]


def differences(
    metrics: Sequence[str], species: pl.Series, mine: np.ndarray, theirs: np.ndarray, over_species: bool
) -> list[Difference]:
    """Return the difference of each of M metrics, from values [Q, M] of the same queries and the species of each."""
    change = mine - theirs
    groups = species.rank("dense").to_numpy().astype(np.int64)
    try:
        by_query, by_species = paired_intervals(change), paired_intervals(change, groups)
        p_values = sign_flip_test(change, groups if over_species else None)
    except ValueError as error:
        raise RunError(f"the two results cannot be compared: {error}") from error
    won, lost = (change > 0).sum(axis=0), (change < 0).sum(axis=0)
    return [
        Difference(
            metric,
            float(mine[:, place].mean()),
            float(theirs[:, place].mean()),
            by_query[place],
            by_species[place],
            over_species,
            float(p_values[place]),
            int(won[place]),
            int(lost[place]),
            len(change) - int(won[place]) - int(lost[place]),
        )
        for place, metric in enumerate(metrics)
    ]
