"""Is the data clean: what the leak check found, as plain values for the page."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from conspecific.evaluation.evaluate import leave_out
from conspecific.leaks.record import Leaks
from conspecific.reporting.page.thumbnails import Side
from conspecific.reporting.page.wording import number, plural, species_name
from conspecific.reporting.run.record import Report

MAIN_METRICS = ("recall@1", "precision@10", "map@r")
_SUBSETS = {"train": "training", "val": "validation", "test": "test"}
_RELATIONS = {"exact": "The same file", "near": "Nearly the same image"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that are one. relabelled: whether they stand under different species."""

    relation: str
    similarity: str
    sides: tuple[Side, Side]
    relabelled: bool


@dataclass(frozen=True, slots=True)
class WithoutLeaks:
    """One metric: for each encoder its role and name, the value of all queries and that of the clean ones."""

    metric: str
    values: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Cleanliness:
    """The leak check in words and tables.

    is_good: nothing was found between the subsets, or it was taken out. state, verdict: that in few words and in a
        sentence. notes: what else is to be said.
    counts: subsets, exact pairs, near pairs. pairs: the first of them; further: how many are not shown, in words.
    spellings: species that may be one under two names. leaked: how many queries the second table leaves out, in words.
    stands: why there is no second table.
    """

    is_good: bool
    state: str
    verdict: str
    notes: tuple[str, ...]
    counts: tuple[tuple[str, str, str], ...]
    pairs: tuple[Pair, ...]
    further: str
    spellings: tuple[str, ...]
    leaked: str
    stands: str
    without: tuple[WithoutLeaks, ...]


def cleanliness(report: Report, most: int = 12) -> Cleanliness | None:
    """Return what the leak check found, at most `most` pairs of it; None where nobody looked."""
    leaks = report.leaks
    if leaks is None:
        return None
    shown = leaks.pairs.head(most)
    hidden = leaks.pairs.height - shown.height
    queries = plural(report.best.per_query.height, "query", "queries")
    return Cleanliness(
        is_good=_is_clean(leaks) or report.leak_policy == "drop",
        state=_state(report, leaks),
        verdict=_verdict(leaks),
        notes=tuple(note for note in (_policy(report, leaks), _inside(leaks), _blank(leaks), _crops(leaks)) if note),
        counts=_counts(leaks.pairs),
        pairs=tuple(_pair(row) for row in shown.iter_rows(named=True)),
        further=f"{plural(hidden, 'further pair')} in leaks.parquet of the run's directory." if hidden else "",
        spellings=tuple(
            f"{species_name(match.name)} and, in the test, {species_name(match.other)}"
            f"{'' if match.certain else ' (a guess)'}"
            for match in leaks.species
        ),
        leaked=f"{report.leaked:,} of {queries}" if report.leaked else "",
        stands=_stands(report, leaks),
        without=_without(report, leaks) if report.leaked else (),
    )


def _is_clean(leaks: Leaks) -> bool:
    return leaks.pairs.is_empty() and not leaks.species


def _state(report: Report, leaks: Leaks) -> str:
    if _is_clean(leaks):
        return "No leak."
    return "Found, and taken out." if report.leak_policy == "drop" else "Not quite."


def _verdict(leaks: Leaks) -> str:
    compared = f"{plural(leaks.compared, 'image')} {'was' if leaks.compared == 1 else 'were'} compared"
    if _is_clean(leaks):
        cropped = ", mirrored or slightly cropped" if leaks.crops else " or mirrored"
        return (
            f"{compared} with one another, and none is in more than one of training, validation and test, neither as "
            f"the same file nor as a near copy, be it resized, recompressed{cropped}."
        )
    found = []
    if not leaks.pairs.is_empty():
        found.append(f"{plural(leaks.pairs.height, 'pair')} of copies between training, validation and test")
    if leaks.species:
        found.append(f"{plural(len(leaks.species), 'species', 'species')} that may be on both sides under two names")
    return f"{compared} with one another; found: {', and '.join(found)}."


def _policy(report: Report, leaks: Leaks) -> str:
    if _is_clean(leaks):
        return ""
    if report.leak_policy == "drop":
        guesses = any(not match.certain for match in leaks.species)
        left = " Species that are one only by a guess were left in." if guesses else ""
        return f"Training and validation go without them (leaks=drop); the test is whole.{left}"
    if report.leak_policy == "report":
        return "They were left where they are (leaks=report); leaks=drop takes them out of training and validation."
    return ""


def _inside(leaks: Leaks) -> str:
    if leaks.inside == 0:
        return ""
    return (
        f"The test itself holds {plural(leaks.inside, 'pair')} of copies: the one finds the other easily, under every "
        "encoder alike."
    )


def _blank(leaks: Leaks) -> str:
    if leaks.blank == 0:
        return ""
    was, file = ("was", "a file") if leaks.blank == 1 else ("were", "files")
    return (
        f"{plural(leaks.blank, 'image')} with next to nothing on {'it' if leaks.blank == 1 else 'them'} {was} "
        f"compared as {file} only."
    )


def _crops(leaks: Leaks) -> str:
    if leaks.crops:
        return ""
    return "Cut copies were not looked for: of so many images that would take longer than the training."


def _counts(pairs: pl.DataFrame) -> tuple[tuple[str, str, str], ...]:
    rows = []
    for first, second in (("train", "test"), ("val", "test"), ("train", "val")):
        kinds = pairs.filter((pl.col("first_subset") == first) & (pl.col("second_subset") == second))["kind"].to_list()
        exact, near = kinds.count("exact"), kinds.count("near")
        rows.append((f"{_SUBSETS[first].capitalize()} and {_SUBSETS[second]}", f"{exact:,}", f"{near:,}"))
    return tuple(rows)


def _pair(row: dict[str, Any]) -> Pair:
    relation = _RELATIONS.get(row["kind"], row["kind"])
    if row["view"] and row["view"] != "same":
        relation = f"{relation}, {row['view']}"
    sides = _side(row, "first"), _side(row, "second")
    return Pair(relation, number(row["similarity"]), sides, row["first_label"] != row["second_label"])


def _side(row: dict[str, Any], which: str) -> Side:
    subset = _SUBSETS.get(row[f"{which}_subset"], row[f"{which}_subset"])
    name = species_name(row[f"{which}_label"])
    return Side(row[f"{which}_path"], subset, name, f"Image of the {subset} subset: {name}")


def _stands(report: Report, leaks: Leaks) -> str:
    if report.leak_policy == "drop":
        return "The copies were taken out before the run, so the encoder has seen no query of the test."
    text = "No query of the test has a copy in training or validation."
    if leaks.pairs.filter(pl.col("second_subset") == "val").is_empty():
        return text
    return f"{text} Copies between those two make validation look better than it is, and lean the choice of the epoch."


def _without(report: Report, leaks: Leaks) -> tuple[WithoutLeaks, ...]:
    ids = leaks.leaked_queries
    all_leaked = report.leaked == report.best.per_query.height
    clean = {role: {} if all_leaked else leave_out(result, ids).metrics for role, _, result in report.encoders}
    return tuple(
        WithoutLeaks(
            metric,
            tuple(
                (role, name, number(result.metrics[metric]), number(clean[role].get(metric)))
                for role, name, result in report.encoders
            ),
        )
        for metric in MAIN_METRICS
    )
