"""The numbers of the report page: every metric of every encoder, and what lies between them, as text and positions."""

from collections.abc import Sequence
from dataclasses import dataclass

from conspecific.evaluation.compare import Difference
from conspecific.metrics import Interval, in_order
from conspecific.reporting.page.wording import explain, number, p_value, signed
from conspecific.reporting.run.record import Report


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference as the table shows it. verdict: 'better', 'worse', or 'unsure' where the interval holds zero."""

    mean: str
    interval: str
    verdict: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric under every encoder.

    values: role, name and text for each encoder. places: role -> position on the line from 0 to 100.
    """

    metric: str
    sentence: str
    values: tuple[tuple[str, str, str], ...]
    places: dict[str, float]
    over_baseline: Gain | None
    over_pooled: Gain | None


@dataclass(frozen=True, slots=True)
class Statistic:
    """Everything known of one difference. shares: won, unchanged and lost queries in percent, together 100."""

    metric: str
    mean: str
    over_queries: str
    over_species: str
    p_value: str
    counts: tuple[str, str, str]
    shares: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All statistics over one other encoder. counts: which interval is to be believed, 'queries' or 'species'."""

    other: str
    counts: str
    rows: tuple[Statistic, ...]


@dataclass(frozen=True, slots=True)
class MacroRow:
    """One metric: for each encoder its role and name, the mean over queries and the mean over species."""

    metric: str
    values: tuple[tuple[str, str, str, str], ...]


def metric_rows(report: Report) -> list[MetricRow]:
    """Return the first table, a row for each metric that every encoder has."""
    found = report.encoders
    over_baseline = {row.metric: _gain(row) for row in report.over_flatten}
    over_pooled = {row.metric: _gain(row) for row in report.over_pooled} if report.model is not None else {}
    rows = []
    for metric in _shared(report):
        values = tuple((role, name, number(result.metrics[metric])) for role, name, result in found)
        places = {role: round(100 * min(1.0, max(0.0, result.metrics[metric])), 2) for role, _, result in found}
        gains = over_baseline.get(metric), over_pooled.get(metric)
        rows.append(MetricRow(metric, explain(metric), values, places, *gains))
    return rows


def comparisons(report: Report) -> list[Comparison]:
    """Return all statistics of the best encoder over the baseline, and over the pooled reference if it is another."""
    found = [("the baseline", report.over_flatten)]
    if report.model is not None:
        found.append(("the pooled reference", report.over_pooled))
    return [
        Comparison(other, _unit(rows), tuple(statistic(row) for row in _sorted(rows))) for other, rows in found if rows
    ]


def macro_rows(report: Report) -> list[MacroRow]:
    """Return a row for each metric that every encoder has as a mean over species too."""
    return [
        MacroRow(
            metric,
            tuple(
                (role, name, number(result.metrics[metric]), number(result.macro[metric]))
                for role, name, result in report.encoders
            ),
        )
        for metric in _shared(report)
        if all(metric in result.macro for _, _, result in report.encoders)
    ]


def interval_sentence(report: Report) -> str:
    """Return which interval stands in the first table, and why; empty where nothing is compared."""
    if not report.over_flatten:
        return ""
    if _unit(report.over_flatten) == "species":
        return (
            "It is the interval over species: they are new to the encoder, and queries of one species rise and "
            "fall together, so the species are what chance has drawn."
        )
    return (
        "It is the interval over queries: the question is how other images of these same species would fare, "
        "so the queries are what chance has drawn."
    )


def macro_sentence(report: Report) -> str:
    """Return how the best encoder fares when every species counts once; empty where that is not known."""
    metric, best = "recall@1", report.best
    if metric not in best.macro or metric not in best.metrics:
        return ""
    macro, micro = number(best.macro[metric]), number(best.metrics[metric])
    instead = "as it is with every query counting once" if macro == micro else f"instead of {micro}"
    return (
        f"If every species counts once, however many queries it has (macro), {metric} of {report.best_phrase} is "
        f"{macro}, {instead}."
    )


def _shared(report: Report) -> list[str]:
    metrics = report.flatten.metrics
    return in_order(name for name in metrics if all(name in result.metrics for _, _, result in report.encoders))


def _sorted(rows: Sequence[Difference]) -> list[Difference]:
    named = {row.metric: row for row in rows}
    return [named[metric] for metric in in_order(named)]


def _unit(rows: Sequence[Difference]) -> str:
    return "species" if rows[0].over_species else "queries"


def _gain(row: Difference) -> Gain:
    low, high = row.interval.low, row.interval.high
    verdict = "better" if low > 0 else "worse" if high < 0 else "unsure"
    return Gain(signed(row.interval.mean), span(row.interval), verdict)


def statistic(row: Difference) -> Statistic:
    """Everything known of one difference, as text."""
    counts = row.won, row.unchanged, row.lost
    total = max(1, sum(counts))
    won, same, lost = (round(100 * count / total, 2) for count in counts)
    return Statistic(
        metric=row.metric,
        mean=signed(row.interval.mean),
        over_queries=span(row.by_query),
        over_species=span(row.by_species),
        p_value=p_value(row.p_value),
        counts=(f"{row.won:,}", f"{row.unchanged:,}", f"{row.lost:,}"),
        shares=(won, same, lost),
    )


def span(interval: Interval) -> str:
    """The bounds of an interval of differences."""
    return f"{signed(interval.low)} … {signed(interval.high)}"
