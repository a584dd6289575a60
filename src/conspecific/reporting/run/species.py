"""The metrics of every species, worst first."""

from dataclasses import dataclass
from typing import Any

from conspecific.evaluation.diagnose import by_species
from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.wording import DASH, MAIN_METRIC, number, plural, species_name
from conspecific.reporting.run.subject import Subject

MOST_SPECIES = 500


@dataclass(frozen=True, slots=True)
class Change:
    """One value under the baseline and under the best encoder."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SpeciesRow:
    """One species. support: its number of queries, and of their positives. changes: recall@1, hits among ten, map@r."""

    name: str
    support: str
    changes: tuple[Change, Change, Change]


def species(run: Subject) -> dict[str, Any]:
    """Build the section."""
    rows, omitted = species_rows(run)
    worst, best = both_ends(rows)
    name = "model" if run.is_trained else "pooled"
    return {
        "rows": rows,
        "omitted": omitted,
        "worst": worst,
        "best": best,
        "stored": f"results/test_{name}.parquet",
    }


def species_rows(run: Subject, most: int = MOST_SPECIES) -> tuple[list[SpeciesRow], str]:
    """Return the species, worst first; of more than `most`, both ends, and in words which are left out."""
    before, after = by_species(run.baseline.result), by_species(run.best.result)
    after = after.sort(f"precision@{SHOWN}", "recall@1", MAIN_METRIC, "label")
    table = after.join(before, on="label", how="left", suffix="_before", maintain_order="left", nulls_equal=True)
    rows = [_species_row(row) for row in table.iter_rows(named=True)]
    if len(rows) <= most:
        return rows, ""
    half = most // 2
    omitted = len(rows) - 2 * half
    return rows[:half] + rows[
        -half:
    ], f"{plural(omitted, 'species', 'species')} between the {half} worst and the {half} best"


def both_ends(rows: list[SpeciesRow], most: int = 8) -> tuple[list[SpeciesRow], list[SpeciesRow]]:
    """Return the worst and the best species, each end outwards in; all as the worst where they are few."""
    return (rows, []) if len(rows) <= 2 * most else (rows[:most], rows[: -most - 1 : -1])


def _species_row(row: dict[str, Any]) -> SpeciesRow:
    def change(metric: str, digits: int, scale: int = 1) -> Change:
        before, after = row[f"{metric}_before"], row[metric]
        return Change(DASH if before is None else number(scale * before, digits), number(scale * after, digits))

    return SpeciesRow(
        name=species_name(str(row["label"])),
        support=f"{plural(int(row['queries']), 'query', 'queries')}, R = {number(row['positives'], 0)}",
        changes=(change("recall@1", 2), change(f"precision@{SHOWN}", 1, SHOWN), change(MAIN_METRIC, 2)),
    )
