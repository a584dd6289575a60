"""The one scoring path: validation, the final test, the baseline and the evaluation command all end here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Part
from conspecific.errors import DataError
from conspecific.index import Searcher
from conspecific.metrics import METRICS, score_queries
from conspecific.types import EmbeddingSet, EvalResult, IntArray, Metric, Neighbors

KEPT = 10  # neighbours kept for each query, for people to look at
BLOCK_HITS = 1 << 24  # hits held at once while scoring; bounds memory whatever the size of the largest species


def evaluate(
    embeddings: EmbeddingSet, part: Part, manifest: Manifest, metric: Metric, facts: Mapping[str, Any] | None = None
) -> EvalResult:
    """Score embeddings: search every query of `part` in its gallery, itself left out, and compare species.

    embeddings: must hold every picture of the part. Queries without a positive are left out of the means and counted in
    `facts["excluded"]`. Raises DataError when no query has a positive.
    """
    labels = np.full(len(manifest), -1)
    labels[embeddings.ids] = embeddings.labels
    positives = part.count_positives(labels)
    if not positives.any():
        raise DataError(
            f"none of {len(part.query)} queries has another picture of its species in the gallery: nothing to score"
        )
    scored, gallery = embeddings.select(part.query[positives > 0]), embeddings.select(part.gallery)
    positives = positives[positives > 0]
    searcher = Searcher(gallery, metric)
    width = max(int(positives.max()), KEPT)
    step = max(1, BLOCK_HITS // width)
    tables = []
    for start in range(0, len(scored), step):
        block = scored.select(scored.ids[start : start + step])
        tables.append(_score_block(searcher, block, positives[start : start + step], width, labels, manifest))
    per_query = pl.concat(tables)
    counts = {
        "similarity": metric,
        "dimensions": embeddings.vectors.shape[1],
        "queries": len(scored),
        "gallery": len(gallery),
        "excluded": len(part.query) - len(scored),
        "species": int(np.unique(scored.labels).size),
    }
    means = {name: float(per_query[name].to_numpy().mean()) for name in METRICS}
    return EvalResult(means, per_query, {**(facts or {}), **counts})


def _score_block(
    searcher: Searcher, query: EmbeddingSet, positives: IntArray, width: int, labels: IntArray, manifest: Manifest
) -> pl.DataFrame:
    neighbors = searcher.search(query, width)
    hits = (labels[neighbors.ids] == query.labels[:, None]) & (neighbors.ids >= 0)
    first_rank = hits.argmax(axis=1) + 1
    late = np.flatnonzero(~hits.any(axis=1))
    if late.size:
        first_rank[late] = searcher.rank_of_first_positive(query.select(query.ids[late]), beyond=width)
    values = score_queries(hits, positives, first_rank)
    described = _describe(query, positives, neighbors, hits, labels, manifest)
    return described.with_columns([pl.Series(name, values[name]) for name in METRICS])


def _describe(
    query: EmbeddingSet,
    positives: IntArray,
    neighbors: Neighbors,
    hits: np.ndarray,
    labels: IntArray,
    manifest: Manifest,
) -> pl.DataFrame:
    """The per-query table of EvalResult, its metrics still missing."""
    species = np.array([*manifest.species, None], dtype=object)  # the last is that of label -1, unknown
    paths = manifest.table["path"].to_numpy()
    found = neighbors.ids[:, :KEPT] >= 0

    def kept(values: np.ndarray) -> list[Any]:
        return [row[there].tolist() for row, there in zip(values[:, :KEPT], found, strict=True)]

    return pl.DataFrame(
        {
            "id": query.ids,
            "path": paths[query.ids],
            "label": species[query.labels],
            "positives": positives,
            "neighbor_ids": kept(neighbors.ids),
            "neighbor_paths": kept(paths[neighbors.ids[:, :KEPT]]),
            "neighbor_labels": kept(species[labels[neighbors.ids[:, :KEPT]]]),
            "neighbor_scores": kept(neighbors.scores),
            "neighbor_hits": kept(hits),
        },
        schema_overrides={"path": pl.String, "label": pl.String, "neighbor_labels": pl.List(pl.String)},
    )
