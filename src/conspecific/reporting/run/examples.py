"""Which queries the report shows: chosen by rule, so that nobody can pick the pretty ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from conspecific.types import EvalResult

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One image found. hit: whether it shows the query's species, None where that is not known."""

    path: str
    label: str | None
    hit: bool | None


@dataclass(frozen=True, slots=True)
class Example:
    """One query with its answers under the baseline (`before`) and under the other encoder (`after`).

    why: the rule that chose it. possible: how many right answers ten places can hold.
    """

    why: str
    path: str
    label: str | None
    possible: int
    before: tuple[Answer, ...]
    after: tuple[Answer, ...]


def paired(before: EvalResult, after: EvalResult) -> pl.DataFrame:
    """Return a row for each query of both results, sorted from the largest loss to the largest gain.

    Columns: id, path, label, positives, hits_before, hits_after (right answers among the first ten),
    first_before, first_after (whether the first answer is right), gain (hits_after - hits_before), fine (gain in
    map@r, which orders equal gains), answers_before, answers_after (paths, labels, hits as a struct).
    """
    left = _counted(before, "before").rename({"map@r": "fine_before"})
    right = _counted(after, "after").rename({"map@r": "fine_after"}).drop("path", "label", "positives")
    rows = left.join(right, on="id", how="inner")
    gain = pl.col("hits_after").cast(pl.Int64) - pl.col("hits_before").cast(pl.Int64)
    rows = rows.with_columns(gain=gain, fine=pl.col("fine_after") - pl.col("fine_before"))
    return rows.sort("gain", "fine", "id")


def chosen_targets(rows: pl.DataFrame) -> list[Example]:
    """Return up to three different queries of `paired`: largest gain, median gain, worst answers."""
    worst = rows.sort("hits_after", "fine_after", "id")["id"].to_list()
    order = rows["id"].to_list()
    wanted = [
        ("Largest gain", order[::-1]),
        ("Median gain", order[len(order) // 2 :] + order[: len(order) // 2]),
        ("Worst answers", worst),
    ]
    taken: dict[int, str] = {}
    for why, candidates in wanted:
        free = next((query for query in candidates if query not in taken), None)
        if free is not None:
            taken[free] = why
    return [_example(rows, query, why) for query, why in taken.items()]


def further_examples(rows: pl.DataFrame, count: int = 8) -> list[Example]:
    """Return queries at equal steps through `paired`, the largest loss first and the largest gain last."""
    order = rows["id"].to_list()
    count = min(count, len(order))
    steps = [round(place * (len(order) - 1) / max(1, count - 1)) for place in range(count)]
    return [_example(rows, order[step], "") for step in steps]


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
        hits.list.get(0, null_on_oob=True).fill_null(False).cast(pl.Float64).alias(f"first_{side}"),
        answers.alias(f"answers_{side}"),
    )


def _example(rows: pl.DataFrame, query: int, why: str) -> Example:
    row = rows.row(by_predicate=pl.col("id") == query, named=True)
    before, after = (_answers(row[f"answers_{side}"]) for side in ("before", "after"))
    return Example(why, row["path"], row["label"], min(SHOWN, row["positives"]), before, after)


def _answers(stored: dict[str, Sequence[object]]) -> tuple[Answer, ...]:
    found = zip(stored["paths"], stored["labels"], stored["hits"], strict=True)
    return tuple(
        Answer(str(path), None if label is None else str(label), None if hit is None else bool(hit))
        for path, label, hit in found
        if path is not None
    )
