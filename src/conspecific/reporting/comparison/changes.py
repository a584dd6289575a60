"""Which species and queries changed most between two groups, as plain values for the page."""

from typing import Any

import polars as pl

from conspecific.reporting.page.wording import number, plural, signed, species_name
from conspecific.reporting.run.examples import SHOWN, Answer
from conspecific.runs.groups import Contrast, Group

MAIN = "map@r"
LISTED, SHOWN_IMAGES = 5, 2  # of those that gained, and of those that lost


def query_changes(against: Contrast) -> pl.DataFrame:
    """A row for each query: path, label, queries (1), and averaged over the runs of each group: order (map@r) and right
    (answers among ten, null where they are not stored), `_after` for the rival's; change and more are their gains."""
    before, after = _answered(against.first), _answered(against.group).drop("label", "queries")
    return before.join(after, on="path", suffix="_after").with_columns(
        change=pl.col("order_after") - pl.col("order"), more=pl.col("right_after") - pl.col("right")
    )


def _answered(group: Group) -> pl.DataFrame:
    tables = []
    for run in group.runs:
        queries = run.result.per_query
        stored = "neighbor_hits" in queries.columns
        right = pl.col("neighbor_hits").list.head(SHOWN).list.sum() if stored else pl.lit(None)
        tables.append(
            queries.select("path", "label", order=pl.col(MAIN).cast(pl.Float64), right=right.cast(pl.Float64))
        )
    by_path = pl.concat(tables).group_by("path", maintain_order=True)
    return by_path.agg(pl.col("label").first(), pl.col("order", "right").mean(), queries=pl.lit(1))


def species_changes(queries: pl.DataFrame) -> pl.DataFrame:
    means = pl.col("order", "order_after", "right", "right_after", "change").mean()
    return queries.sort("path").group_by("label").agg(pl.col("path").first(), pl.col("queries").sum(), means)


def extremes(rows: pl.DataFrame, by: list[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Those that gained most and those that lost most, the largest change first, none that did not change."""
    usable = [name for name in by if rows[name].null_count() == 0]
    key = usable[0]
    gained = rows.filter(pl.col(key) > 0).sort(
        *usable, "label", "path", descending=[*(True for _ in usable), False, False]
    )
    lost = rows.filter(pl.col(key) < 0).sort(*usable, "label", "path")
    return [(name, _texts(found.head(LISTED))) for name, found in (("gained", gained), ("lost", lost))]


def _texts(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "path": row["path"],
            "name": species_name(row["label"]),
            "queries": plural(row["queries"], "query", "queries"),
            "order": (number(row["order"]), number(row["order_after"]), signed(row["change"])),
            "right": (number(row["right"], 1), number(row["right_after"], 1)),
        }
        for row in rows.iter_rows(named=True)
    ]


def changed_answers(against: Contrast, queries: pl.DataFrame) -> list[dict[str, Any]]:
    """The ten answers of the queries that changed most, by the first run of either group."""
    sides = [(group.letter, group.runs[0]) for group in (against.first, against.group)]
    if not all("neighbor_paths" in run.result.per_query.columns for _, run in sides):
        return []
    wanted = [row for _, rows in extremes(queries, ["more", "change"]) for row in rows[:SHOWN_IMAGES]]
    return [
        {**row, "sides": [(letter, run.seed, _answers(run.result.per_query, row["path"])) for letter, run in sides]}
        for row in wanted
    ]


def _answers(queries: pl.DataFrame, path: str) -> list[Answer]:
    row = queries.row(by_predicate=pl.col("path") == path, named=True)
    found = zip(row["neighbor_paths"], row["neighbor_labels"], row["neighbor_hits"], strict=True)
    return [Answer(path=path, label=label, hit=hit) for path, label, hit in found][:SHOWN]
