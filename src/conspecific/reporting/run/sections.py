"""The first words of the report page and its small tables: all arithmetic is done here, none in the template."""

from dataclasses import dataclass

import polars as pl

from conspecific.metrics import in_order
from conspecific.reporting.page.wording import (
    DASH,
    NO_BREAK,
    number,
    percent,
    plural,
    protocol_sentence,
    signed,
)
from conspecific.reporting.run.examples import SHOWN
from conspecific.reporting.run.record import Report
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
class EncoderRow:
    """What an encoder turns an image into."""

    name: str
    role: str
    numbers: str
    similarity: str


def headline(report: Report, rows: pl.DataFrame) -> Headline:
    """Return the page's first words. rows: as `examples.paired` gives them."""
    tallies = tuple(tally(role, name, _right_in_ten(result)) for role, name, result in report.encoders)
    before, best = tallies[0].value, tallies[-1].value
    if report.model is None:
        text = f"Of ten answers, {before} show the right species before any fine-tuning. Pooled: {best}."
    else:
        text = f"Of ten answers, {best} show the right species. The baseline: {before}."
    lead = [_measured(report.best), _gained(report), _ceiling(rows), _won_and_lost(rows, report.best_phrase)]
    return Headline(text, tuple(sentence for sentence in lead if sentence), tallies)


def encoder_rows(report: Report) -> list[EncoderRow]:
    """Return what each encoder turns an image into, from the facts of its result."""
    similarities = {"cosine": "cosine similarity", "l2": "squared Euclidean distance"}
    rows = []
    for role, name, result in report.encoders:
        size, similarity = result.facts.get("dimensions"), str(result.facts.get("similarity", ""))
        numbers = f"{size:,}" if isinstance(size, int) else DASH
        rows.append(EncoderRow(name, role, numbers, similarities.get(similarity, similarity or DASH)))
    return rows


def excluded_sentence(result: EvalResult) -> str:
    """Return how many images could not be asked about, and why."""
    count = int(result.facts.get("excluded", 0))
    if count == 0:
        return "Every image asked about had another of its species to find."
    was = "was" if count == 1 else "were"
    return f"{plural(count, 'image')} {was} left out: no other image of the species was there to be found."


def validation_table(report: Report) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the names of the columns, and a line for the two references and for each epoch: its name and its texts.

    The last column is the gain over the baseline in the metric that chose the epoch, if the epochs tell its interval.
    """
    named = {name for row in report.epochs for name in row} - {"epoch", "loss", "gain_intervals"}
    metrics, gains = ["loss", *in_order(named)], _validation_gains(report)
    lines = [
        ("Baseline", report.flatten_validation, ""),
        ("Pooled reference", report.pooled_validation, ""),
        *(
            (f"Epoch {row.get('epoch', DASH)}", row, gain)
            for row, gain in zip(report.epochs, gains or [""] * len(report.epochs), strict=True)
        ),
    ]
    columns = [*metrics, *([f"{report.chosen_by}, gain"] if gains else [])]
    table = [
        (name, [*(number(values.get(metric)) for metric in metrics), *([gain or DASH] if gains else [])])
        for name, values, gain in lines
        if values
    ]
    return columns, table


def _validation_gains(report: Report) -> list[str]:
    """Return each epoch's gain over the baseline with its interval, as text; empty where no epoch has one."""
    metric, gains = report.chosen_by, []
    for row in report.epochs:
        bounds = row.get("gain_intervals", {}).get(metric)
        if bounds is None or metric not in report.flatten_validation:
            gains.append("")
            continue
        low, high = (signed(bound) for bound in bounds)
        gains.append(f"{signed(row[metric] - report.flatten_validation[metric])} ({low}{NO_BREAK}…{NO_BREAK}{high})")
    return gains if any(gains) else []


def tally(role: str, name: str, value: float) -> Tally:
    """Return what is drawn of a mean number of right answers in ten."""
    fills = tuple(round(min(1.0, max(0.0, value - place)), 3) for place in range(SHOWN))
    return Tally(role, name, number(value, 1), fills)


def _right_in_ten(result: EvalResult) -> float:
    if result.per_query.is_empty():
        return 0.0
    hits = pl.col("neighbor_hits").list.head(SHOWN).list.sum()
    return float(result.per_query.select(hits.mean()).item())


def _measured(result: EvalResult) -> str:
    queries = plural(int(result.facts.get("queries", result.per_query.height)), "query image")
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
    gained = f"{report.best_name} against the baseline: {mean} right answers in ten"
    return f"{gained} ({percent(0.95)} interval {low} to {high})."


def _ceiling(rows: pl.DataFrame) -> str:
    """Return a warning where ten right answers are not possible."""
    most = float(rows.select(pl.col("positives").clip(upper_bound=SHOWN).mean()).item() or 0)
    if rows.is_empty() or most > SHOWN - 0.05:
        return ""
    return f"The most possible here is {number(most, 1)}: some species have fewer than ten other images to find."


def _won_and_lost(rows: pl.DataFrame, name: str) -> str:
    won, lost = rows.filter(pl.col("gain") > 0).height, rows.filter(pl.col("gain") < 0).height
    same = rows.height - won - lost
    counts = f"more than the baseline for {won:,}, as many for {same:,}, fewer for {lost:,}"
    return f"Query by query, {name} finds {counts}."
