"""The parts of the report page as plain values: all arithmetic is done here, none in the template."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from conspecific.evaluation.compare import Difference
from conspecific.reporting.examples import SHOWN
from conspecific.reporting.record import Report
from conspecific.reporting.wording import (
    DASH,
    explain,
    in_order,
    number,
    plural,
    protocol_sentence,
    signed,
    species_name,
)
from conspecific.types import EvalResult


@dataclass(frozen=True, slots=True)
class Tally:
    """Right answers in ten of one encoder. fills: how much of each of the ten cells is coloured, 0 to 1."""

    role: str
    name: str
    value: str
    fills: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Headline:
    """The top of the page: what was gained, in plain words."""

    text: str
    lead: tuple[str, ...]
    tallies: tuple[Tally, ...]


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
class SpeciesRow:
    """One species: how often the first answer was right, and how many of ten, before and after.

    support: how many queries this rests on, and how many pictures there were to find.
    """

    name: str
    support: str
    first: tuple[str, str]
    hits: tuple[str, str]


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """What an encoder turns a picture into."""

    name: str
    role: str
    numbers: str
    similarity: str


def encoders(report: Report) -> list[tuple[str, str, EvalResult]]:
    """Return role, name and result of each encoder of the run, the baseline first."""
    found = [("baseline", "Baseline", report.flatten), ("pooled", "Pooled reference", report.pooled)]
    if report.model is not None:
        found.append(("model", "Fine-tuned", report.model))
    return found


def headline(report: Report, rows: pl.DataFrame) -> Headline:
    """Return the page's first words. rows: as `examples.paired` gives them."""
    tallies = tuple(_tally(role, name, result) for role, name, result in encoders(report))
    before, best = tallies[0].value, tallies[-1].value
    if report.model is None:
        text = f"Of ten answers, {before} show the right species before any fine-tuning. Pooled: {best}."
    else:
        text = f"Of ten answers, {best} show the right species. The baseline: {before}."
    lead = [_measured(report.best), _gained(report), _ceiling(rows), _won_and_lost(rows, report.best_phrase)]
    return Headline(text, tuple(sentence for sentence in lead if sentence), tallies)


def metric_rows(report: Report) -> list[MetricRow]:
    """Return the final table, a row for each metric that every encoder has."""
    found = encoders(report)
    shared = [metric for metric in report.flatten.metrics if all(metric in result.metrics for _, _, result in found)]
    over_baseline = {row.metric: _gain(row) for row in report.over_flatten}
    over_pooled = {row.metric: _gain(row) for row in report.over_pooled} if report.model is not None else {}
    rows = []
    for metric in in_order(shared):
        values = tuple((role, name, number(result.metrics[metric])) for role, name, result in found)
        places = {role: round(100 * min(1.0, max(0.0, result.metrics[metric])), 2) for role, _, result in found}
        gains = over_baseline.get(metric), over_pooled.get(metric)
        rows.append(MetricRow(metric, explain(metric), values, places, *gains))
    return rows


def species_rows(table: pl.DataFrame, most: int = 8) -> tuple[list[SpeciesRow], list[SpeciesRow]]:
    """Return the worst and the best species of `examples.by_species`; all in the first list where they are few."""
    rows = [
        SpeciesRow(
            name=species_name(row["label"]),
            support=f"{plural(row['queries'], 'query', 'queries')}, {number(row['positives'], 0)} to find",
            first=(number(row["first_before"], 2), number(row["first_after"], 2)),
            hits=(number(row["hits_before"], 1), number(row["hits_after"], 1)),
        )
        for row in table.iter_rows(named=True)
    ]
    if len(rows) <= 2 * most:
        return rows, []
    return rows[:most], rows[: -most - 1 : -1]


def encoder_rows(report: Report) -> list[EncoderRow]:
    """Return what each encoder turns a picture into, from the facts of its result."""
    similarities = {"cosine": "cosine similarity", "l2": "squared Euclidean distance"}
    rows = []
    for role, name, result in encoders(report):
        size, similarity = result.facts.get("dimensions"), str(result.facts.get("similarity", ""))
        numbers = f"{size:,}" if isinstance(size, int) else DASH
        rows.append(EncoderRow(name, role, numbers, similarities.get(similarity, similarity or DASH)))
    return rows


def excluded_sentence(result: EvalResult) -> str:
    """Return how many pictures could not be asked about, and why."""
    count = int(result.facts.get("excluded", 0))
    if count == 0:
        return "Every picture asked about had another of its species to find."
    was = "was" if count == 1 else "were"
    return f"{plural(count, 'picture')} {was} left out: no other picture of the species was there to be found."


def validation_table(report: Report, metrics: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return a line for the two references and for each epoch: its name, and a text for each metric."""
    lines = [
        ("Baseline", report.flatten_validation),
        ("Pooled reference", report.pooled_validation),
        *((f"Epoch {row.get('epoch', DASH)}", row) for row in report.epochs),
    ]
    return [(name, [number(values.get(metric)) for metric in metrics]) for name, values in lines if values]


def _tally(role: str, name: str, result: EvalResult) -> Tally:
    value = _right_in_ten(result)
    fills = tuple(round(min(1.0, max(0.0, value - place)), 3) for place in range(SHOWN))
    return Tally(role, name, number(value, 1), fills)


def _right_in_ten(result: EvalResult) -> float:
    if result.per_query.is_empty():
        return 0.0
    hits = pl.col("neighbor_hits").list.head(SHOWN).list.sum()
    return float(result.per_query.select(hits.mean()).item())


def _measured(result: EvalResult) -> str:
    queries = plural(int(result.facts.get("queries", result.per_query.height)), "query picture")
    species = plural(int(result.facts.get("species", result.per_query["label"].n_unique())), "species", "species")
    sentence = f"Measured with {queries} of {species}."
    return f"{sentence} {protocol_sentence(str(result.facts.get('protocol', '')))}".strip()


def _gained(report: Report) -> str:
    """Return the gain in ten answers with its interval, where the run has one."""
    found = next((row for row in report.over_flatten if row.metric == f"precision@{SHOWN}"), None)
    if found is None:
        return ""
    interval = found.interval
    mean, low, high = (signed(SHOWN * value, 1) for value in (interval.mean, interval.low, interval.high))
    return f"{report.best_name} against the baseline: {mean} right answers in ten (95 % interval {low} to {high})."


def _ceiling(rows: pl.DataFrame) -> str:
    """Return a warning where ten right answers are not possible."""
    most = float(rows.select(pl.col("positives").clip(upper_bound=SHOWN).mean()).item() or 0)
    if rows.is_empty() or most > SHOWN - 0.05:
        return ""
    return f"The most possible here is {number(most, 1)}: some species have fewer than ten other pictures to find."


def _won_and_lost(rows: pl.DataFrame, name: str) -> str:
    won, lost = rows.filter(pl.col("gain") > 0).height, rows.filter(pl.col("gain") < 0).height
    same = rows.height - won - lost
    counts = f"more than the baseline for {won:,}, as many for {same:,}, fewer for {lost:,}"
    return f"Query by query, {name} finds {counts}."


def _gain(row: Difference) -> Gain:
    low, high = row.interval.low, row.interval.high
    verdict = "better" if low > 0 else "worse" if high < 0 else "unsure"
    return Gain(signed(row.interval.mean), f"{signed(low)} … {signed(high)}", verdict)
