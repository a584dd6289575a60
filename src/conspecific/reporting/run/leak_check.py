"""The result of the leak check, and the metrics without the leaked queries."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from conspecific.errors import name_some
from conspecific.evaluation.evaluate import without_queries
from conspecific.leaks.record import Leaks
from conspecific.leaks.spelling import SpellingMatch
from conspecific.reporting.page.thumbnails import Side
from conspecific.reporting.page.wording import MAIN_METRICS, number, plural, species_name
from conspecific.reporting.run.subject import Cell, Subject
from conspecific.reporting.run.trust import Finding, leaks_finding

PAIRS_SHOWN = 12
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_RELATIONS = {"exact": "Identical file", "near": "Near duplicate"}


@dataclass(frozen=True, slots=True)
class PairCount:
    """How many pairs of duplicates two splits share."""

    splits: str
    exact: str
    near: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two duplicates in different splits. relabelled: whether their labels differ."""

    relation: str
    similarity: str
    sides: tuple[Side, Side]
    relabelled: bool


@dataclass(frozen=True, slots=True)
class WithoutLeaks:
    """One metric; each cell has the value over all queries before the value without the leaked ones."""

    metric: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """The leak check in sentences and tables.

    finding: its sign and color, those of the first screen. state, verdict: the result in a few words and in a sentence.
    notes: further sentences. counts: pairs by splits. pairs: the first of them. further: how many more there are.
    spellings: species that may be in the test split under another name. synonyms: other names that may mean one
    species. leaked: how many queries are leaked; empty for none.
    unaffected: why no metric is shown without the leaked queries. without: the metrics without them.
    """

    finding: Finding
    state: str
    verdict: str
    notes: tuple[str, ...]
    counts: tuple[PairCount, ...]
    pairs: tuple[Pair, ...]
    further: str
    spellings: tuple[str, ...]
    synonyms: tuple[str, ...]
    leaked: str
    unaffected: str
    without: tuple[WithoutLeaks, ...]


def leak_check(run: Subject) -> dict[str, Any] | None:
    """Build the section; None where no leak check was made."""
    leaks = run.record.leaks
    return None if leaks is None else {"check": described(run, leaks)}


def described(run: Subject, leaks: Leaks) -> LeakCheck:
    """Return the result of the leak check, with the first twelve pairs."""
    shown = leaks.pairs.head(PAIRS_SHOWN)
    hidden = leaks.pairs.height - shown.height
    queries = plural(run.best.result.per_query.height, "query", "queries")
    return LeakCheck(
        finding=leaks_finding(run),
        state=_state(run, leaks),
        verdict=_verdict(leaks),
        notes=tuple(
            note
            for note in (_policy(run, leaks), _two_species(leaks), _inside(leaks), _blank(leaks), _crops(leaks))
            if note
        ),
        counts=_counts(leaks.pairs),
        pairs=tuple(_pair(row) for row in shown.iter_rows(named=True)),
        further=f"leaks.parquet in the run directory lists {plural(hidden, 'further pair')}." if hidden else "",
        spellings=tuple(_names(match, "and, in the test split,") for match in leaks.species),
        synonyms=tuple(_names(match, "and") for match in leaks.synonyms),
        leaked=f"{run.leaked:,} of {queries}" if run.leaked else "",
        unaffected=_unaffected(run, leaks),
        without=_without(run, leaks) if run.leaked else (),
    )


def _is_clean(leaks: Leaks) -> bool:
    return leaks.pairs.is_empty() and not leaks.species


def _state(run: Subject, leaks: Leaks) -> str:
    if _is_clean(leaks):
        return "No leaks."
    return "Leaks found and dropped." if run.record.config.leaks == "drop" else "Leaks found."


def _verdict(leaks: Leaks) -> str:
    compared = f"{plural(leaks.compared, 'image')} {'was' if leaks.compared == 1 else 'were'} compared pairwise"
    if _is_clean(leaks):
        cropped = ", mirrored or slightly cropped" if leaks.crops else " or mirrored"
        return (
            f"{compared}. The train, validation and test splits share no identical file and no near duplicate "
            f"(resized, recompressed{cropped})."
        )
    found = []
    if not leaks.pairs.is_empty():
        found.append(f"{plural(leaks.pairs.height, 'pair')} of duplicates in different splits")
    if leaks.species:
        found.append(
            f"{plural(len(leaks.species), 'species', 'species')} that may be in the test split under two names"
        )
    return f"{compared}. Found: {' and '.join(found)}."


def _policy(run: Subject, leaks: Leaks) -> str:
    if _is_clean(leaks):
        return ""
    if run.record.config.leaks == "drop":
        guesses = any(not match.certain for match in leaks.species)
        kept = " Species with an uncertain match were kept." if guesses else ""
        return (
            f"With leaks=drop, they were removed from the train and validation splits, not from the test split.{kept}"
        )
    if run.record.config.leaks == "report":
        return "With leaks=report, they were kept. Set leaks=drop to remove them from the train and validation splits."
    return ""


def _two_species(leaks: Leaks) -> str:
    if not leaks.two_species:
        return ""
    files = plural(len(leaks.two_species), "file")
    return f"{files} with an identical copy under another species: {name_some(leaks.two_species)}."


def _inside(leaks: Leaks) -> str:
    if leaks.inside == 0:
        return ""
    return (
        f"The test split contains {plural(leaks.inside, 'pair')} of duplicates. They are easy queries for every "
        "encoder and raise all metrics alike."
    )


def _blank(leaks: Leaks) -> str:
    if leaks.blank == 0:
        return ""
    was = "was" if leaks.blank == 1 else "were"
    return f"{plural(leaks.blank, 'image')} without visible content {was} compared by file content only."


def _crops(leaks: Leaks) -> str:
    return "" if leaks.crops else "The data set is too large to search it for cropped duplicates."


def _counts(pairs: pl.DataFrame) -> tuple[PairCount, ...]:
    rows = []
    for first, second in (("train", "test"), ("val", "test"), ("train", "val")):
        kinds = pairs.filter((pl.col("first_subset") == first) & (pl.col("second_subset") == second))["kind"].to_list()
        splits = f"{_SPLITS[first].capitalize()} and {_SPLITS[second]}"
        rows.append(PairCount(splits, f"{kinds.count('exact'):,}", f"{kinds.count('near'):,}"))
    return tuple(rows)


def _names(match: SpellingMatch, between: str) -> str:
    uncertain = "" if match.certain else " (uncertain)"
    return f"{species_name(match.name)} {between} {species_name(match.other)}{uncertain}"


def _pair(row: dict[str, Any]) -> Pair:
    relation = _RELATIONS.get(row["kind"], row["kind"])
    if row["view"] and row["view"] != "same":
        relation = f"{relation}, {row['view']}"
    sides = _side(row, "first"), _side(row, "second")
    return Pair(relation, number(row["similarity"]), sides, row["first_label"] != row["second_label"])


def _side(row: dict[str, Any], which: str) -> Side:
    split = _SPLITS.get(row[f"{which}_subset"], row[f"{which}_subset"])
    name = species_name(row[f"{which}_label"])
    return Side(row[f"{which}_path"], f"{split} split", name, f"Image of the {split} split: {name}")


def _unaffected(run: Subject, leaks: Leaks) -> str:
    if run.record.config.leaks == "drop":
        return "The duplicates were removed before training, so no query of the test split was trained on."
    text = "No query of the test split has a duplicate in the train or validation split."
    if leaks.pairs.filter(pl.col("second_subset") == "val").is_empty():
        return text
    return (
        f"{text} Duplicates shared by the train and validation splits raise the validation metrics and bias the choice "
        "of the epoch."
    )


def _without(run: Subject, leaks: Leaks) -> tuple[WithoutLeaks, ...]:
    all_leaked = run.leaked == run.best.result.per_query.height
    clean = {
        encoder.role: {} if all_leaked else without_queries(encoder.result, leaks.leaked_queries).metrics
        for encoder in run.encoders
    }
    return tuple(
        WithoutLeaks(
            metric,
            tuple(
                Cell(encoder, number(clean[encoder.role].get(metric)), number(encoder.result.metrics[metric]))
                for encoder in run.encoders
            ),
        )
        for metric in MAIN_METRICS
        if all(metric in encoder.result.metrics for encoder in run.encoders)
    )
