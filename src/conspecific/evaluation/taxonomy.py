"""Answers at the ranks above species: recall at each, the rank of each mistake, and the one at which an answer is sure.

Everything is computed from the first ten answers of each query, without embeddings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.errors import RunError
from conspecific.evaluation.compare import resampled_together
from conspecific.evaluation.rejection import best_scores
from conspecific.metrics import Interval, paired_intervals, threshold_for, threshold_keeping
from conspecific.types import EvalResult

SPECIES = "species"
AT = (1, 5, 10)  # cut-offs of recall
VOTERS = 10  # answers
ALL_VOTES = float(sum(1 / place for place in range(1, VOTERS + 1)))
FEWEST = 20  # queries from which a share of SURE can be told
SURE = 0.95  # share of right answers on validation, from which on an answer at a rank is sure
Names = NDArray[np.object_]
Taxa = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class RankRecall:
    """Share of queries with an image of their taxon among the first k answers, for k of AT; see `recall_at_ranks`."""

    rank: str
    queries: int
    recall: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class MixUp:
    """Two species, how often the first answer to a query of one is the other, and the lowest rank that both share.

    rank: None where they share none that is known.
    """

    label: str
    other: str
    count: int
    rank: str | None


@dataclass(frozen=True, slots=True)
class SureAt:
    """The queries whose answer is given at a rank, because it is not sure at a lower one.

    threshold: of the share of votes; None where validation gives none. answered: share of all queries. right: share of
    the answered; None where there are none.
    """

    rank: str
    threshold: float | None
    answered: float
    right: float | None


def taxa_of(result: EvalResult) -> Taxa:
    """Return the taxa that a result knows, see `data.taxonomy`; empty for none. Raises RunError for damaged ones."""
    return read_stored_taxa(result.facts.get("taxa") or {})


def read_stored_taxa(stored: Any) -> Taxa:
    """Return taxa that were read from a file. Raises RunError for anything else."""
    try:
        return {str(rank): {str(each): str(taxon) for each, taxon in taxa.items()} for rank, taxa in stored.items()}
    except AttributeError as error:
        raise RunError(f"these taxa cannot be read, {error}: make them again") from error


def recall_at_ranks(result: EvalResult) -> list[RankRecall]:
    """Return recall at species and at each rank, with 95 % bootstrap intervals over queries, groups or species.

    At a rank, an answer is right if it is of the query's taxon. Queries whose species has no taxon there are left out.
    Empty where no rank above species is known.
    """
    if not taxa_of(result):
        return []
    found = []
    for rank, own, answers in _at_ranks(result, result.per_query):
        known = np.array([name is not None for name in own])
        hits = (answers[known] == own[known, None]) & (own[known, None] != None)  # noqa: E711 (elementwise)
        if known.sum() < 2:
            continue
        units = resampled_together(result.per_query.filter(known), result.facts.get("protocol") == "unseen")
        values = np.stack([hits[:, :k].any(axis=1) for k in AT], axis=1).astype(np.float64)
        if units is None or np.unique(units).size > 1:
            found.append(RankRecall(rank, int(known.sum()), tuple(paired_intervals(values, units))))
    return found


def mix_ups(result: EvalResult) -> list[MixUp]:
    """Return the pairs of species that are mixed up in first answers, both directions together, the most frequent
    first. Answers of unknown species are no mix-ups."""
    taxa = taxa_of(result)
    pairs = result.per_query.select("label", other=pl.col("neighbor_labels").list.first()).drop_nulls()
    wrong = pairs.filter(pl.col("label") != pl.col("other"))
    ends = pl.min_horizontal("label", "other"), pl.max_horizontal("label", "other")
    counts = wrong.select(label=ends[0], other=ends[1]).group_by("label", "other").len()
    return [
        MixUp(label, other, count, shared_rank(taxa, label, other))
        for label, other, count in counts.sort("len", "label", "other", descending=[True, False, False]).iter_rows()
    ]


def shared_rank(taxa: Taxa, label: str, other: str) -> str | None:
    """Return the lowest rank at which two species have the same taxon; None for none."""
    shared = (rank for rank, own in taxa.items() if label in own and own[label] == own.get(other))
    return next(shared, None)


def sure_at(validation: EvalResult, result: EvalResult) -> list[SureAt]:
    """Return at which rank each query of a result is answered: the lowest at which the answer is sure.

    The answer at a rank is the taxon with the most votes among the ten first answers, where the answer at rank i has
    1 / i votes. It is sure where its share of all votes reaches a threshold: the lowest at which 95 % of the validation
    queries that are not sure at a lower rank are answered rightly; of all of them, where fewer than 20 are left. For
    species, the first answer must also reach the score that 95 % of the validation queries reach, see `rejection`: else
    it is probably none of these species. Queries of species that are not in the gallery are among the queries; no
    species is right for them.
    """
    limit = threshold_keeping(best_scores(validation))
    queries = result.per_query if result.new is None else _together(result.per_query, result.new)
    scores = [table["neighbor_scores"].list.first().to_numpy() >= limit for table in (validation.per_query, queries)]
    left = [np.ones(len(each), np.bool_) for each in scores]
    found = []
    voted = zip(_votes(validation, validation.per_query), _votes(result, queries), strict=True)
    for (rank, shares, right), (_, tested, rightly) in voted:
        open_ = [own & reached if rank == SPECIES else own for own, reached in zip(left, scores, strict=True)]
        chosen = open_[0] if open_[0].sum() >= FEWEST else np.ones(len(right), np.bool_)
        threshold = threshold_for(shares[chosen], right[chosen], SURE)
        least = np.inf if threshold is None else threshold
        sure = [own & (each >= least) for own, each in zip(open_, (shares, tested), strict=True)]
        left = [own & ~taken for own, taken in zip(left, sure, strict=True)]
        share = float(rightly[sure[1]].mean()) if sure[1].any() else None
        found.append(SureAt(rank, threshold, float(sure[1].mean()), share))
    return found


def describe_ranks(result: EvalResult, validation: EvalResult | None) -> list[str]:
    """Return sentences on recall@1 at each rank, on mistakes, and on sure answers; none without ranks.

    validation: None leaves the last one out.
    """
    if not (ranks := recall_at_ranks(result)):
        return []
    told = [f"recall@1 by rank: {', '.join(f'{each.rank} {each.recall[0].mean:.3f}' for each in ranks)}"]
    wrong = [
        f"{count:,} {'in no shared rank' if rank is None else f'in the right {rank}'}"
        for rank, count in shared_ranks(result)
    ]
    if wrong:
        told.append(f"Wrong first answers of known species: {', '.join(wrong)}")
    if validation is not None:
        sure = sure_at(validation, result)
        parts = [f"{each.rank} for {_percent(each.answered)} ({_percent(each.right)} right)" for each in sure]
        rest = _percent(1 - sum(each.answered for each in sure))
        told.append(f"The lowest rank at which the answer to a query is sure: {', '.join(parts)}, none for {rest}")
    return told


def shared_ranks(result: EvalResult) -> list[tuple[str | None, int]]:
    """Return how many mix-ups share each rank as their lowest, the lowest rank first; None, for no rank, at the end."""
    found = mix_ups(result)
    counts = [(rank, sum(each.count for each in found if each.rank == rank)) for rank in (*taxa_of(result), None)]
    return [(rank, count) for rank, count in counts if count]


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def vote(answers: Iterable[str | None]) -> tuple[str | None, float]:
    """Return the taxon with the most votes of the ten first answers, and its share of all votes.

    answers: the taxon of each, the nearest first; None where it is not known.

    >>> winner, share = vote(["gull", "tern", "tern", None])
    >>> winner, round(share, 3)
    ('gull', 0.341)
    """
    votes: dict[str, float] = {}
    for position, answer in enumerate(islice(answers, VOTERS), start=1):
        if answer is not None:
            votes[answer] = votes.get(answer, 0.0) + 1 / position
    winner = max(votes, key=votes.__getitem__, default=None)  # the nearer one of equals
    return winner, votes.get(winner, 0.0) / ALL_VOTES if winner is not None else 0.0


def roll_up(
    labels: Sequence[str | None], taxa: Mapping[str, Mapping[str, str]], shares: Mapping[str, float], is_new: bool
) -> tuple[str, str] | None:
    """Return the lowest rank at which an answer is sure, and the answer there; None where it is at none.

    labels: species of the answers, the nearest first; None where unknown. shares: as `sure_shares` returns them.
    is_new: whether the query is probably of none of the species, so that no species is sure.
    """
    for rank, least in shares.items():
        if rank == SPECIES and is_new:
            continue
        own = labels if rank == SPECIES else [taxa.get(rank, {}).get(label or "") for label in labels]
        winner, share = vote(own)
        if winner is not None and share >= least:
            return rank, winner
    return None


def sure_shares(validation: EvalResult) -> dict[str, float]:
    """Return the share of votes from which on an answer is sure, at species and each rank; empty without ranks."""
    if not taxa_of(validation):
        return {}
    return {each.rank: each.threshold for each in sure_at(validation, validation) if each.threshold is not None}


def _together(known: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    columns = ["label", "neighbor_labels", "neighbor_scores"]
    return pl.concat([known.select(columns), new.select(columns)])


def _at_ranks(result: EvalResult, queries: pl.DataFrame) -> list[tuple[str, Names, Names]]:
    """Return, of species and each rank, the taxon of each query [Q] and of its answers [Q, 10]; None where unknown."""
    labels = queries["label"].to_list()
    answers = [row + [None] * (10 - len(row)) for row in queries["neighbor_labels"].to_list()]
    found = []
    for rank, taxa in [(SPECIES, None), *taxa_of(result).items()]:
        own = [name if taxa is None else taxa.get(name) for name in labels]
        rows = [[name if taxa is None else taxa.get(name) for name in row] for row in answers]
        found.append((rank, np.array(own, object), np.array(rows, object).reshape(len(own), 10)))
    return found


def _votes(result: EvalResult, queries: pl.DataFrame) -> Sequence[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
    """Return, of species and each rank, the largest share of votes of each query, and whether its taxon is right."""
    found = []
    for rank, own, answers in _at_ranks(result, queries):
        shares, right = np.zeros(len(own)), np.zeros(len(own), np.bool_)
        for place, (name, row) in enumerate(zip(own, answers, strict=True)):
            winner, shares[place] = vote(row)
            right[place] = winner is not None and winner == name
        found.append((rank, shares, right))
    return found
