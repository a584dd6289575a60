"""The species and queries that changed most between two groups."""

from dataclasses import dataclass

import polars as pl

from conspecific.reporting.page.answers import SHOWN, Answer, answers_of
from conspecific.reporting.page.wording import MAIN_METRIC, number, plural, signed, species_name
from conspecific.runs.groups import Contrast, Group

LISTED, WITH_ANSWERS = 5, 2  # species or queries that are listed, and queries with retrieved images, of each kind


@dataclass(frozen=True, slots=True)
class Changed:
    """A species or query. order: map@r before, after and their difference. hits: among ten, before and after."""

    path: str
    name: str
    queries: str
    order: tuple[str, str, str]
    hits: tuple[str, str]


@dataclass(frozen=True, slots=True)
class GroupAnswers:
    """The answers of one query by the first run of a group."""

    letter: str
    seed: int
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class ChangedAnswers:
    """A query that changed, with its answers by both groups."""

    path: str
    name: str
    sides: tuple[GroupAnswers, GroupAnswers]


def query_changes(contrast: Contrast) -> pl.DataFrame:
    """Return a row for each query, averaged over the runs of each group.

    Columns: path, label, queries (1), order (map@r) and right (hits among ten, null where the results have none) of the
    first group, the same with `_after` of the other group, and the gains change (map@r) and more (hits).
    """
    before, after = _averaged(contrast.first), _averaged(contrast.group).drop("label", "queries")
    return before.join(after, on="path", suffix="_after").with_columns(
        change=pl.col("order_after") - pl.col("order"), more=pl.col("right_after") - pl.col("right")
    )


def _averaged(group: Group) -> pl.DataFrame:
    tables = []
    for run in group.runs:
        queries = run.result.per_query
        stored = "neighbor_hits" in queries.columns
        right = pl.col("neighbor_hits").list.head(SHOWN).list.sum() if stored else pl.lit(None)
        tables.append(
            queries.select("path", "label", order=pl.col(MAIN_METRIC).cast(pl.Float64), right=right.cast(pl.Float64))
        )
    by_path = pl.concat(tables).group_by("path", maintain_order=True)
    return by_path.agg(pl.col("label").first(), pl.col("order", "right").mean(), queries=pl.lit(1))


def species_changes(queries: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each species with the means of `query_changes`."""
    means = pl.col("order", "order_after", "right", "right_after", "change").mean()
    return queries.sort("path").group_by("label").agg(pl.col("path").first(), pl.col("queries").sum(), means)


def extremes(rows: pl.DataFrame, by: list[str]) -> tuple[list[Changed], list[Changed]]:
    """Return the rows with the largest gains and those with the largest losses, unchanged ones excluded."""
    usable = [name for name in by if rows[name].null_count() == 0]
    key = usable[0]
    gained = rows.filter(pl.col(key) > 0).sort(
        *usable, "label", "path", descending=[*(True for _ in usable), False, False]
    )
    lost = rows.filter(pl.col(key) < 0).sort(*usable, "label", "path")
    return _changed(gained.head(LISTED)), _changed(lost.head(LISTED))


def _changed(rows: pl.DataFrame) -> list[Changed]:
    return [
        Changed(
            path=row["path"],
            name=species_name(row["label"]),
            queries=plural(row["queries"], "query", "queries"),
            order=(number(row["order"]), number(row["order_after"]), signed(row["change"])),
            hits=(number(row["right"], 1), number(row["right_after"], 1)),
        )
        for row in rows.iter_rows(named=True)
    ]


def changed_answers(contrast: Contrast, queries: pl.DataFrame) -> list[ChangedAnswers]:
    """Return the answers of the queries that changed most; empty where the results have none."""
    if any(
        "neighbor_paths" not in group.runs[0].result.per_query.columns for group in (contrast.first, contrast.group)
    ):
        return []
    gained, lost = extremes(queries, ["more", "change"])
    return [
        ChangedAnswers(row.path, row.name, (_answers(contrast.first, row.path), _answers(contrast.group, row.path)))
        for row in gained[:WITH_ANSWERS] + lost[:WITH_ANSWERS]
    ]


def _answers(group: Group, path: str) -> GroupAnswers:
    run = group.runs[0]
    row = run.result.per_query.row(by_predicate=pl.col("path") == path, named=True)
    answers = answers_of(
        row["neighbor_paths"], row["neighbor_labels"], row["neighbor_hits"], row.get("positives", SHOWN)
    )
    return GroupAnswers(group.letter, run.seed, answers)
