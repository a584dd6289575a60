"""Every metric of every encoder on the test split, and the paired differences between encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import format_interval
from conspecific.metrics import in_order
from conspecific.reporting.page.statistics import Statistic, statistic
from conspecific.reporting.page.wording import MAIN_METRICS, explain, number, signed
from conspecific.reporting.run.subject import Cell, Subject, judge
from conspecific.runs.verdict import over_better_reference


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference in the first table. verdict: 'better', 'worse', or 'unsure' where the interval contains zero."""

    mean: str
    interval: str
    verdict: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric under every encoder. positions: role -> position on the axis, from 0 to 100."""

    metric: str
    sentence: str
    cells: tuple[Cell, ...]
    positions: Mapping[str, float]
    over_baseline: Gain | None
    over_pooled: Gain | None


@dataclass(frozen=True, slots=True)
class DifferenceTable:
    """All statistics of the best encoder minus one other.

    unit: 'queries', 'groups' or 'species', whose interval decides. grouped: whether queries are resampled in groups.
    """

    other: str
    unit: str
    grouped: bool
    rows: tuple[Statistic, ...]


@dataclass(frozen=True, slots=True)
class AverageRow:
    """One metric; each cell has the mean over queries (micro) before the mean over species (macro)."""

    metric: str
    cells: tuple[Cell, ...]


def metric_tables(run: Subject) -> dict[str, Any]:
    """Build the section: the main metrics first, and the others behind them."""
    rows = metric_rows(run)
    return {
        "split": str(run.best.result.facts.get("subset", "")),
        "metrics": sorted(rows, key=lambda row: row.metric not in MAIN_METRICS),
        "main": sum(row.metric in MAIN_METRICS for row in rows),
        "interval_sentence": interval_sentence(run),
        "macro_sentence": macro_sentence(run),
        "differences": difference_tables(run),
        "averages": average_rows(run),
    }


def metric_rows(run: Subject) -> list[MetricRow]:
    """Return a row for each metric that every encoder has."""
    over_baseline = {row.metric: _gain(row) for row in run.over_baseline}
    over_pooled = {row.metric: _gain(row) for row in run.over_pooled}
    rows = []
    for metric in _shared(run):
        values = [(encoder, encoder.result.metrics[metric]) for encoder in run.encoders]
        judged = {run.best.role: _over_better(run, metric)}
        cells = tuple(Cell(encoder, number(value), verdict=judged.get(encoder.role, "")) for encoder, value in values)
        positions = {encoder.role: round(100 * min(1.0, max(0.0, value)), 2) for encoder, value in values}
        gains = over_baseline.get(metric), over_pooled.get(metric)
        rows.append(MetricRow(metric, explain(metric), cells, positions, *gains))
    return rows


def difference_tables(run: Subject) -> list[DifferenceTable]:
    """Return the best encoder minus the baseline and, where it is another, minus the pooled reference."""
    found = [("baseline", run.over_baseline), ("pooled reference", run.over_pooled)]
    return [
        DifferenceTable(other, rows[0].unit, rows[0].grouped, tuple(statistic(row) for row in _sorted(rows)))
        for other, rows in found
        if rows
    ]


def average_rows(run: Subject) -> list[AverageRow]:
    """Return a row for each metric that every encoder has as a mean over species too."""
    results = [encoder.result for encoder in run.encoders]
    metrics = [metric for metric in _shared(run) if all(metric in result.macro for result in results)]
    return [
        AverageRow(
            metric,
            tuple(
                Cell(encoder, number(encoder.result.macro[metric]), number(encoder.result.metrics[metric]))
                for encoder in run.encoders
            ),
        )
        for metric in metrics
    ]


def interval_sentence(run: Subject) -> str:
    """Return which interval the first table shows, and why; empty where nothing is compared."""
    if not run.over_baseline:
        return ""
    if run.over_baseline[0].over_species:
        return (
            "The interval is over species: the species of the test split are new to the encoder, and queries of one "
            "species are not independent."
        )
    if run.over_baseline[0].grouped:
        return "The interval is over groups: queries of one group, as a burst, are not independent."
    return "The interval is over queries: every species was trained on, so the queries are the sample."


def macro_sentence(run: Subject) -> str:
    """Return recall@1 of the best encoder averaged over species; empty where it is not known."""
    metric, result = "recall@1", run.best.result
    if metric not in result.macro or metric not in result.metrics:
        return ""
    macro, micro = number(result.macro[metric]), number(result.metrics[metric])
    return (
        f"Averaged over species instead of queries (macro), {metric} of {run.best.phrase} is {macro} ({micro} micro)."
    )


def _shared(run: Subject) -> list[str]:
    results = [encoder.result for encoder in run.encoders]
    return in_order(metric for metric in results[0].metrics if all(metric in result.metrics for result in results))


def _sorted(rows: Sequence[Difference]) -> list[Difference]:
    named = {row.metric: row for row in rows}
    return [named[metric] for metric in in_order(named)]


def _gain(row: Difference) -> Gain:
    return Gain(signed(row.interval.mean), format_interval(row.interval, signed), judge(row))


def _over_better(run: Subject, metric: str) -> str:
    """Return how the best encoder compares with the reference that is better in this metric; empty without both."""
    found = over_better_reference(run.record.gains, metric)
    return judge(found[1]) if found else ""
