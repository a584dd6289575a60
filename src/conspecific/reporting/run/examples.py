"""Example queries with their retrieved images, selected by rule."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from conspecific.reporting.page.answers import SHOWN, Answer, answers_of
from conspecific.reporting.run.subject import Encoder, Subject
from conspecific.types import EvalResult


@dataclass(frozen=True, slots=True)
class Example:
    """One query with its answers under a reference (`before`) and under the best encoder (`after`).

    rule: the rule that selected it. possible: how many hits the first ten answers can hold.
    """

    rule: str
    path: str
    label: str | None
    possible: int
    before: tuple[Answer, ...]
    after: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The answers of one encoder to the query of an example."""

    encoder: Encoder
    answers: tuple[Answer, ...]


def examples(run: Subject) -> dict[str, Any]:
    """Build the section: the three selected queries and, behind them, evenly spaced ones."""
    pairs = pairs_of(run)
    selected = selected_queries(pairs)
    more = spaced_queries(pairs.filter(~pl.col("path").is_in([example.path for example in selected])))
    return {
        "shown": SHOWN,
        "beyond": any(example.possible < SHOWN for example in [*selected, *more]),
        "examples": [(example, rows_of(run, example)) for example in selected],
        "more": [(example, rows_of(run, example)) for example in more],
    }


def pairs_of(run: Subject) -> pl.DataFrame:
    """Return `paired` of the better reference and the best encoder."""
    return paired(run.rival.result, run.best.result)


def rows_of(run: Subject, example: Example) -> list[Row]:
    """Return the answers of every encoder to the query of an example."""
    rows = []
    for encoder in run.encoders:
        row = encoder.result.per_query.row(by_predicate=pl.col("path") == example.path, named=True)
        paths, labels, hits = (row[f"neighbor_{name}"] for name in ("paths", "labels", "hits"))
        rows.append(Row(encoder, answers_of(paths, labels, hits, example.possible)))
    return rows


def paired(before: EvalResult, after: EvalResult) -> pl.DataFrame:
    """Return a row for each query of both results, sorted from the largest loss to the largest gain.

    Columns: id, path, label, positives, hits_before, hits_after (hits among the first ten), gain (hits_after -
    hits_before), fine (gain in map@r, which orders equal gains), fine_before, fine_after (map@r), answers_before,
    answers_after (paths, labels, hits as a struct).
    """
    left = _counted(before, "before").rename({"map@r": "fine_before"})
    right = _counted(after, "after").rename({"map@r": "fine_after"}).drop("path", "label", "positives")
    rows = left.join(right, on="id", how="inner")
    gain = pl.col("hits_after").cast(pl.Int64) - pl.col("hits_before").cast(pl.Int64)
    rows = rows.with_columns(gain=gain, fine=pl.col("fine_after") - pl.col("fine_before"))
    return rows.sort("gain", "fine", "id")


def selected_queries(pairs: pl.DataFrame) -> list[Example]:
    """Return up to three different queries of `paired`: largest gain, median gain, fewest hits."""
    worst = pairs.sort("hits_after", "fine_after", "id")["id"].to_list()
    order = pairs["id"].to_list()
    candidates = {
        "Largest gain": order[::-1],
        "Median gain": order[len(order) // 2 :] + order[: len(order) // 2],
        "Fewest hits": worst,
    }
    taken: dict[int, str] = {}
    for rule, queries in candidates.items():
        free = next((query for query in queries if query not in taken), None)
        if free is not None:
            taken[free] = rule
    return [_example(pairs, query, rule) for query, rule in taken.items()]


def spaced_queries(pairs: pl.DataFrame, count: int = 5) -> list[Example]:
    """Return queries at equal steps through `paired`, the largest loss first and the largest gain last."""
    order = pairs["id"].to_list()
    count = min(count, len(order))
    steps = [round(place * (len(order) - 1) / max(1, count - 1)) for place in range(count)]
    return [_example(pairs, order[step], "") for step in steps]


def _counted(result: EvalResult, side: str) -> pl.DataFrame:
    hits = pl.col("neighbor_hits").list.head(SHOWN)
    answers = pl.struct(
        paths=pl.col("neighbor_paths").list.head(SHOWN), labels=pl.col("neighbor_labels").list.head(SHOWN), hits=hits
    )
    return result.per_query.select(
        "id",
        "path",
        "label",
        "positives",
        "map@r",
        hits.list.sum().alias(f"hits_{side}"),
        answers.alias(f"answers_{side}"),
    )


def _example(pairs: pl.DataFrame, query: int, rule: str) -> Example:
    row = pairs.row(by_predicate=pl.col("id") == query, named=True)
    possible = min(SHOWN, row["positives"])
    before, after = (answers_of(**row[f"answers_{side}"], possible=possible) for side in ("before", "after"))
    return Example(rule, row["path"], row["label"], possible, before, after)
