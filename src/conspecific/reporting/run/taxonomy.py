"""Recall at the ranks above species, mix-ups within and across them, and the rank at which an answer is sure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conspecific.evaluation.taxonomy import MixUp, mix_ups, recall_at_ranks, shared_ranks, sure_at
from conspecific.reporting.page.wording import number, percent, plural, species_name
from conspecific.reporting.run.subject import Cell, Subject

MOST = 5  # pairs within the lowest rank, and outside it


@dataclass(frozen=True, slots=True)
class RankRow:
    """Recall@1 at one rank; each cell has its interval as `before`."""

    rank: str
    cells: tuple[Cell, ...]


def taxonomy(run: Subject) -> dict[str, Any] | None:
    """Build the section; None where no rank above species is known."""
    rows = rank_rows(run)
    if not rows:
        return None
    wrong = mix_ups(run.best.result)
    lowest = next(row.rank for row in rows if row.rank != "species")
    within = [pair for pair in wrong if pair.rank == lowest]
    across = [pair for pair in wrong if pair.rank != lowest]
    return {
        "rows": rows,
        "lowest": lowest,
        "told": told(run),
        "mixed": [(f"Within a {lowest}", _named(within)), (f"Across {lowest} boundaries", _named(across))],
        "sure": sure_rows(run),
    }


def rank_rows(run: Subject) -> list[RankRow]:
    """Return recall@1 at species and at each rank; empty where no rank is known to every encoder."""
    found = [(encoder, recall_at_ranks(encoder.result)) for encoder in run.encoders]
    if not all(ranks for _, ranks in found):
        return []
    rows = []
    for place, rank in enumerate(found[0][1]):
        values = [(encoder, ranks[place].recall[0]) for encoder, ranks in found]
        cells = (
            Cell(each, number(value.mean), f"{number(value.low)} to {number(value.high)}") for each, value in values
        )
        rows.append(RankRow(rank.rank, tuple(cells)))
    return rows


def told(run: Subject) -> str:
    """Return how far from the right species the wrong first answers are."""
    shared = shared_ranks(run.best.result)
    if not shared:
        return "No first answer is of another known species."
    total = sum(count for _, count in shared)
    parts = [
        f"{count:,} ({percent(count / total)}) {'share no known rank' if rank is None else f'are of the right {rank}'}"
        for rank, count in shared
    ]
    return f"Of {plural(total, 'first answer')} of another species, {', '.join(parts)}."


def sure_rows(run: Subject) -> list[tuple[str, str, str]]:
    """Return, of each rank, the share of queries that are answered there, and how many of these rightly."""
    found = sure_at(run.record.validation[run.record.best], run.best.result)
    rows = [(each.rank, percent(each.answered, 1), percent(each.right, 1)) for each in found]
    return [*rows, ("not sure at any", percent(1 - sum(each.answered for each in found), 1), "")]


def _named(pairs: Sequence[MixUp]) -> list[tuple[str, str]]:
    return [(f"{species_name(pair.label)} and {species_name(pair.other)}", f"{pair.count:,}") for pair in pairs[:MOST]]
