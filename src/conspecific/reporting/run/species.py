"""The metrics of every species by every encoder, worst first."""

from typing import Any, NamedTuple

import polars as pl

from conspecific.evaluation.diagnose import by_species
from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.wording import MAIN_METRIC, number, plural, species_name
from conspecific.reporting.run.subject import Cell, Subject

MOST_SPECIES, ENDS = 500, 5
HITS, FIRST = f"precision@{SHOWN}", "recall@1"


class SpeciesRow(NamedTuple):
    """One species. support: its number of queries, and of their positives. values: hits among ten, and recall@1."""

    name: str
    support: str
    values: tuple[tuple[Cell, ...], tuple[Cell, ...]]


def species(run: Subject) -> dict[str, Any]:
    """Build the section."""
    rows, omitted = species_rows(run)
    worst, best = both_ends(rows)
    name = "model" if run.is_trained else "pooled"
    return {
        "metrics": (f"Hits in top {SHOWN}", FIRST),
        "rows": rows,
        "omitted": omitted,
        "worst": worst,
        "best": best,
        "stored": f"results/test_{name}.parquet",
    }


def species_rows(run: Subject, most: int = MOST_SPECIES) -> tuple[list[SpeciesRow], str]:
    """Return the species, worst first; of more than `most`, both ends, and in words which are left out."""
    table = by_species(run.best.result).sort(HITS, FIRST, MAIN_METRIC, "label")
    for place, encoder in enumerate(run.encoders):
        values = by_species(encoder.result).select("label", pl.col(HITS, FIRST).name.suffix(f" {place}"))
        table = table.join(values, on="label", how="left", maintain_order="left", nulls_equal=True)
    rows = [_species_row(run, row) for row in table.iter_rows(named=True)]
    if len(rows) <= most:
        return rows, ""
    half = most // 2
    omitted = len(rows) - 2 * half
    words = f"{plural(omitted, 'species', 'species')} between the {half} worst and the {half} best"
    return rows[:half] + rows[-half:], words


def both_ends(rows: list[SpeciesRow], most: int = ENDS) -> tuple[list[SpeciesRow], list[SpeciesRow]]:
    """Return the worst and the best species, each end outwards in; all as the worst where they are few."""
    return (rows, []) if len(rows) <= 2 * most else (rows[:most], rows[: -most - 1 : -1])


def _species_row(run: Subject, row: dict[str, Any]) -> SpeciesRow:
    return SpeciesRow(
        name=species_name(str(row["label"])),
        support=f"{plural(int(row['queries']), 'query', 'queries')}, R = {number(row['positives'], 0)}",
        values=(_cells(run, row, HITS, SHOWN, 1), _cells(run, row, FIRST, 1, 2)),
    )


def _cells(run: Subject, row: dict[str, Any], metric: str, scale: int, digits: int) -> tuple[Cell, ...]:
    """Return a cell for each encoder; the last one is worse where it is below the better reference."""
    found = [row[f"{metric} {place}"] for place in range(len(run.encoders))]
    texts = [number(None if value is None else scale * value, digits) for value in found]
    *others, own = found
    verdict = "worse" if own is not None and own < max((v for v in others if v is not None), default=own) else ""
    *first, last = [Cell(encoder, text) for encoder, text in zip(run.encoders, texts, strict=True)]
    return (*first, Cell(last.encoder, last.text, verdict=verdict))
