"""The pairs of species that the best encoder confuses most often."""

from dataclasses import dataclass
from typing import Any

from conspecific.evaluation.diagnose import confused_pairs
from conspecific.reporting.page.thumbnails import Side
from conspecific.reporting.page.wording import number, percent, plural, species_name
from conspecific.reporting.run.subject import Subject

MOST_PAIRS = 9  # three rows of three on a wide page


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two species, how often one is retrieved for the other, and the miss with the highest score."""

    names: tuple[str, str]
    misses: str
    share: str
    sides: tuple[Side, Side]


def confusions(run: Subject) -> dict[str, Any]:
    """Build the section."""
    return {"confusions": confusion_pairs(run)}


def confusion_pairs(run: Subject) -> list[Confusion]:
    """Return the pairs of species that the best encoder confuses most often."""
    found = []
    for row in confused_pairs(run.best.result, MOST_PAIRS).iter_rows(named=True):
        query, answer = species_name(row["query_label"]), species_name(row["answer_label"])
        found.append(
            Confusion(
                names=(species_name(row["label"]), species_name(row["other"])),
                misses=plural(row["wrong"], "miss", "misses"),
                share=percent(row["share"], 1),
                sides=(
                    Side(row["query_path"], "query", query, f"Query: {query}"),
                    Side(row["answer_path"], f"miss · score {number(row['score'])}", answer, f"Miss: {answer}"),
                ),
            )
        )
    return found
