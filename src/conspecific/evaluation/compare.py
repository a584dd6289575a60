"""Paired differences between two results on the same queries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from conspecific.errors import RunError
from conspecific.metrics import Interval, paired_intervals, sign_flip_test
from conspecific.types import EvalResult, IntArray


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two results on the same queries: `value` minus `other`.

    by_query, by_species: the mean difference with its 95 % bootstrap interval, resampling queries or whole species.
    grouped: whether `by_query` resamples whole groups of queries, where images have groups: those of a burst are not
        independent.
    over_species: which of the two applies: species if they are new to the encoder (`unseen`), because queries of one
        species are not independent; queries if every species was trained on.
    p_value: of the sign-flip test; the signs of a species, if `over_species`, or of a group are flipped together.
    won, lost, unchanged: number of queries for which the metric is higher, lower, equal.
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
    grouped: bool = False

    @property
    def unit(self) -> str:
        """What `interval` resamples: species, groups or queries."""
        return "species" if self.over_species else "groups" if self.grouped else "queries"

    @property
    def interval(self) -> Interval:
        """The interval that applies, see `over_species`."""
        return self.by_species if self.over_species else self.by_query

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero."""
        return not self.interval.holds_zero

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        intervals = {name: Interval(**stored[name]) for name in ("by_query", "by_species")}
        return cls(**{**stored, **intervals})


def compare(result: EvalResult, other: EvalResult) -> list[Difference]:
    """Return the paired difference of every metric that both results have, `result` minus `other`.

    Queries are aligned by `path`, which holds the ids given to `evaluate`. Each Difference has the mean difference in
    [-1, 1] with two 95 % bootstrap intervals (Efron and Tibshirani 1993), over queries and over species, the p-value of
    a sign-flip test (Smucker et al. 2007) and the number of queries won, lost and unchanged; docs/metrics.md defines
    them. `interval` is the one over species if the protocol is `unseen`, else the one over queries; where images have
    groups, that one is over whole groups of queries.

    Raises ValueError (RunError) if the two were scored on different queries, or on fewer than two queries or species.

    >>> from conspecific.evaluation.arrays import evaluate
    >>> labels = ["wren", "wren", "owl", "owl"]
    >>> better, worse = evaluate([[1, 0], [1, 0], [0, 1], [0, 1]], labels), evaluate([[1, 0], [0, 1]] * 2, labels)
    >>> found = compare(better, worse)[0]
    >>> found.metric, found.value, found.other, found.won, found.lost
    ('recall@1', 1.0, 0.0, 4, 0)
    """
    metrics = [name for name in result.metrics if name in other.metrics]
    queries, mine, theirs = paired_values(result.per_query, other.per_query, metrics)
    over_species = result.facts.get("protocol") == "unseen"
    return differences(metrics, queries, mine, theirs, over_species)


def resampled_together(queries: pl.DataFrame, over_species: bool) -> IntArray | None:
    """Return the number of what is resampled as one, of each query: its species, or its group; None: each by itself."""
    name = "label" if over_species else "group"
    return queries[name].rank("dense").to_numpy().astype(np.int64) if name in queries.columns else None


def paired_values(
    table: pl.DataFrame, other: pl.DataFrame, metrics: Sequence[str]
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Align two per-query tables by path: the queries (path, label, group), and the metrics of both, [Q, M] each.

    Raises RunError if the two hold different queries.
    """
    mine, theirs = table.sort("path"), other.sort("path")
    if not mine["path"].equals(theirs["path"]):
        common = len(set(mine["path"]) & set(theirs["path"]))
        raise RunError(
            f"the two results have different queries ({mine.height} and {theirs.height}, {common} in common): "
            "a paired difference needs the same test set"
        )
    values = [found.select(metrics).cast(pl.Float64).to_numpy() for found in (mine, theirs)]
    return mine.select("path", "label", *({"group"} & set(mine.columns))), values[0], values[1]


def differences(
    metrics: Sequence[str], queries: pl.DataFrame, mine: np.ndarray, theirs: np.ndarray, over_species: bool
) -> list[Difference]:
    """Return the difference of each of M metrics, from values [Q, M] of the same queries.

    queries: the species of each as `label`, and where images have groups its `group`.
    """
    change = mine - theirs
    groups, species = (resampled_together(queries, whole) for whole in (False, True))
    try:
        by_query, by_species = paired_intervals(change, groups), paired_intervals(change, species)
        p_values = sign_flip_test(change, species if over_species else groups)
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
            groups is not None,
        )
        for place, metric in enumerate(metrics)
    ]
