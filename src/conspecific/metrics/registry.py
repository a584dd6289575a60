"""The registry of metrics: one entry for each, expanded for the requested cut-offs."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from conspecific.errors import ConfigError
from conspecific.metrics.retrieval import (
    Counts,
    Hits,
    Values,
    map_at_r,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
    require_one_each,
    require_positives,
)

KS = (1, 5, 10)  # the default cut-offs of recall


@dataclass(frozen=True, slots=True)
class Metric:
    """One entry of the registry.

    name: the reported name; `@k` is appended if it has a cut-off.
    values: (hits, positives, first_rank, k) -> one value a query; k is 0 if there is no cut-off.
    sentence: what it means, with `{k}` for the cut-off.
    at: its cut-offs; None takes the requested ones, an empty tuple is a metric without a cut-off.
    """

    name: str
    values: Callable[[Hits, Counts, Counts, int], Values]
    sentence: str
    at: tuple[int, ...] | None = ()


# Every metric, in the order of the reports.
REGISTRY: tuple[Metric, ...] = (
    Metric(
        "recall",
        lambda hits, positives, first_rank, k: recall_at_k(hits, k),
        "Share of queries with at least one image of the right species in the top {k}.",
        at=None,
    ),
    Metric(
        "precision",
        lambda hits, positives, first_rank, k: precision_at_k(hits, k),
        "Share of the top {k} images that show the right species.",
        at=(10,),
    ),
    Metric(
        "r_precision",
        lambda hits, positives, first_rank, k: r_precision(hits, positives),
        "Share of the top R images that show the right species; R is the number of such images in the gallery.",
    ),
    Metric(
        "map@r",
        lambda hits, positives, first_rank, k: map_at_r(hits, positives),
        "Mean precision at the rank of each correct image within the top R; 1 if all R correct images come first.",
    ),
    Metric(
        "mrr",
        lambda hits, positives, first_rank, k: reciprocal_rank(first_rank),
        "Mean reciprocal rank of the first correct image; 1 if it always comes first.",
    ),
    Metric(
        "ndcg",
        lambda hits, positives, first_rank, k: ndcg_at_k(hits, positives, k),
        "Discounted cumulative gain of the top {k} images, divided by that of the best possible order.",
        at=(10,),
    ),
)


def metric_names(ks: Sequence[int] = KS) -> list[str]:
    """Return the names of all metrics, in the order of the reports.

    ks: cut-offs of recall, each 1 or more. recall@1 is always among them: reports sort species by it.
    Raises ConfigError for a cut-off below 1.

    >>> metric_names((2, 4))
    ['recall@1', 'recall@2', 'recall@4', 'precision@10', 'r_precision', 'map@r', 'mrr', 'ndcg@10']
    """
    return [name for name, _, _ in _expanded(ks)]


def largest_k(ks: Sequence[int] = KS) -> int:
    """Return the largest cut-off of all metrics: as many neighbours must be searched, or R if that is larger."""
    return max(k for _, _, k in _expanded(ks))


def explain(name: str) -> str:
    """Return what a metric means in one sentence, or an empty text for a metric that is not in the registry.

    >>> explain("recall@5")
    'Share of queries with at least one image of the right species in the top 5.'
    """
    place, k = _entry(name)
    return REGISTRY[place].sentence.format(k=k) if place < len(REGISTRY) else ""


def in_order(names: Iterable[str]) -> list[str]:
    """Return metric names in the order of the registry and of their cut-offs, unknown ones last.

    >>> in_order(["loss", "mrr", "recall@10", "recall@2"])
    ['recall@2', 'recall@10', 'mrr', 'loss']
    """
    return sorted(names, key=lambda name: (*_entry(name), name))


def score_queries(hits: Hits, positives: Counts, first_rank: Counts, ks: Sequence[int] = KS) -> dict[str, Values]:
    """Return every metric of every query.

    hits: [Q, K], K >= `largest_k(ks)` and >= the largest R. positives, first_rank: [Q]. ks: as in `metric_names`.
    Returns arrays [Q], each in [0, 1].

    >>> hits = np.zeros((2, 10), dtype=bool)
    >>> hits[0, 1] = True
    >>> scores = score_queries(hits, np.array([2, 1]), np.array([2, 11]))
    >>> {name: values.round(3).tolist() for name, values in scores.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'recall@1': [0.0, 0.0], 'recall@5': [1.0, 0.0], 'recall@10': [1.0, 0.0], 'precision@10': [0.1, 0.0],
     'r_precision': [0.5, 0.0], 'map@r': [0.25, 0.0], 'mrr': [0.5, 0.091], 'ndcg@10': [0.387, 0.0]}
    """
    _require_consistent(hits, positives, first_rank)
    return {name: metric.values(hits, positives, first_rank, k) for name, metric, k in _expanded(ks)}


def _expanded(ks: Sequence[int]) -> Iterator[tuple[str, Metric, int]]:
    """Yield the name, the entry and the cut-off (0: none) of every metric."""
    if wrong := [k for k in ks if k < 1 or int(k) != k]:
        raise ConfigError(f"metrics.ks must be whole numbers of 1 or more, as [1,5,10]; found {wrong[0]}")
    for metric in REGISTRY:
        for k in sorted({1, *map(int, ks)}) if metric.at is None else metric.at:
            yield f"{metric.name}@{k}", metric, k
        if metric.at == ():
            yield metric.name, metric, 0


def _entry(name: str) -> tuple[int, int]:
    """Return the place of a metric in the registry, its length for an unknown one, and the cut-off."""
    parts = re.fullmatch(r"(.+)@(\d+)", name)
    wanted = (parts[1], True, int(parts[2])) if parts else (name, False, 0)
    places = [place for place, metric in enumerate(REGISTRY) if (metric.name, metric.at != ()) == wanted[:2]]
    return (places[0] if places else len(REGISTRY)), wanted[2]


def _require_consistent(hits: Hits, positives: Counts, first_rank: Counts) -> None:
    """Raise ValueError if counts contradict the hits: they are of another search, or a query is among its own hits."""
    for name, counts in (("positives", positives), ("first_rank", first_rank)):
        require_one_each(name, counts, hits)
    require_positives(positives)
    width = hits.shape[1]
    seen = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, width + 1)
    if (wrong := int((np.minimum(first_rank, width + 1) != seen).sum())) > 0:
        raise ValueError(f"first_rank contradicts the hits of {wrong} of {len(hits)} queries")
    if (over := int((np.count_nonzero(hits, axis=1) > positives).sum())) > 0:
        raise ValueError(f"{over} of {len(hits)} queries have more hits than positives; is it its own hit?")
