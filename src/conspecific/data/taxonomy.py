"""The ranks above species that a table or folders name, such as genus and family."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from conspecific.data.labels import label_text, one_spelling
from conspecific.errors import DataError, name_some

RANKS = ("genus", "family", "order")  # columns that are taken for ranks where nothing else is said
RANK = "rank "  # before the name of a rank, in the columns of a table that becomes a manifest
Taxa = Mapping[str, Mapping[str, str]]  # rank, the lowest first -> species -> taxon


def rank_columns(file: Path, table: pl.DataFrame, asked: Sequence[str] | None) -> list[pl.Expr]:
    """Return the columns of a table that are ranks, renamed so that `Manifest.from_table` knows them.

    asked: their names, the lowest rank first; empty for none; None: those of RANKS that the table has. Raises DataError
    for a column that the table does not have.
    """
    names = [name for name in RANKS if name in table.columns] if asked is None else list(asked)
    if missing := [name for name in names if name not in table.columns]:
        raise DataError(
            f"{file} has no column {name_some(missing)}, but {name_some(table.columns)}. Name those that are ranks, "
            "the lowest first: data.ranks=[genus,family]"
        )
    return [pl.col(name).alias(f"{RANK}{name}") for name in names]


def read_taxa(table: pl.DataFrame, labels: pl.Series) -> tuple[Taxa, tuple[str, ...]]:
    """Return the taxon of each species at each rank, and notes on spelling.

    table: [N] rows with columns of `rank_columns`. labels: [N] species, null where unknown. A species without a taxon
    at a rank is missing there. Raises DataError where a species, or a taxon, has two at the next rank.
    """
    taxa: dict[str, dict[str, str]] = {}
    notes: list[str] = []
    below = labels.alias("species")
    for name in (each for each in table.columns if each.startswith(RANK)):
        rank = name.removeprefix(RANK)
        own, respelt = one_spelling(label_text(table[name]))
        own, notes = own.replace("", None).alias(rank), [*notes, *respelt]
        _require_one(below, own)
        pairs = pl.DataFrame({"species": labels, "taxon": own}).drop_nulls().unique()
        taxa[rank], below = dict(pairs.sort("species").iter_rows()), own
    return taxa, tuple(notes)


def _require_one(below: pl.Series, above: pl.Series) -> None:
    """Raise DataError where a taxon has two at the next rank."""
    pairs = pl.DataFrame([below, above]).drop_nulls().unique(maintain_order=True)
    twice = pairs.group_by(below.name, maintain_order=True).agg(above.name).filter(pl.col(above.name).list.len() > 1)
    if twice.height:
        found = [f"{name} ({', '.join(sorted(others))})" for name, others in twice.iter_rows()]
        raise DataError(
            f"{twice.height} {below.name} have more than one {above.name}: {name_some(found)}. Correct them, or "
            "say which columns of a table are ranks, the lowest first: data.ranks=[genus,family]; data.ranks=[]: none"
        )
