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
    query, gallery = embeddings.select(part.query), embeddings.select(part.gallery)
    positives = count_positives(query, gallery)
    scored = query.select(query.ids[positives > 0])
    if not len(scored):
        raise DataError(
            f"none of {len(query)} queries has another picture of its species in the gallery: nothing to score"
        )
    positives = positives[positives > 0]
    searcher = Searcher(gallery, metric)
    width = max(int(positives.max()), KEPT)
    step = max(1, BLOCK_HITS // width)
    tables = []
    for start in range(0, len(scored), step):
        block = scored.select(scored.ids[start : start + step])
        tables.append(_score_block(searcher, block, positives[start : start + step], width, manifest))
    per_query = pl.concat(tables)
    counts = {
        "similarity": metric,
        "dimensions": embeddings.vectors.shape[1],
        "queries": len(scored),
        "gallery": len(gallery),
        "excluded": len(query) - len(scored),
        "species": int(np.unique(scored.labels).size),
    }
    means = {name: float(per_query[name].to_numpy().mean()) for name in METRICS}
    return EvalResult(means, per_query, {**(facts or {}), **counts})


def count_positives(query: EmbeddingSet, gallery: EmbeddingSet) -> IntArray:
    """Return R for each query: pictures of its species in the gallery, itself excluded."""
    classes = int(max(query.labels.max(), gallery.labels.max())) + 1
    support = np.bincount(gallery.labels, minlength=classes)
    return (support[query.labels] - np.isin(query.ids, gallery.ids)).astype(np.int64)


def _score_block(
    searcher: Searcher, query: EmbeddingSet, positives: IntArray, width: int, manifest: Manifest
) -> pl.DataFrame:
    neighbors = searcher.search(query, width)
    hits = (manifest.labels[neighbors.ids] == query.labels[:, None]) & (neighbors.ids >= 0)
    first_rank = hits.argmax(axis=1) + 1
    late = np.flatnonzero(~hits.any(axis=1))
    if late.size:
        first_rank[late] = searcher.rank_of_first_positive(query.select(query.ids[late]), beyond=width)
    values = score_queries(hits, positives, first_rank)
    described = _describe(query, positives, neighbors, hits, manifest)
    return described.with_columns([pl.Series(name, values[name]) for name in METRICS])


def _describe(
    query: EmbeddingSet, positives: IntArray, neighbors: Neighbors, hits: np.ndarray, manifest: Manifest
) -> pl.DataFrame:
    """The per-query table of EvalResult, its metrics still missing."""
    species = np.array(manifest.species, dtype=object)
    paths = manifest.table["path"]
    kept = min(KEPT, int((neighbors.ids >= 0).sum(axis=1).min()))  # every query has as many others in its gallery
    nearest = neighbors.ids[:, :kept]
    flat = paths.gather(nearest.ravel()).to_list()
    return pl.DataFrame(
        {
            "id": query.ids,
            "path": paths.gather(query.ids),
            "label": species[query.labels].astype(str),
            "positives": positives,
            "neighbor_ids": nearest.tolist(),
            "neighbor_paths": [flat[row * kept : (row + 1) * kept] for row in range(len(query))],
            "neighbor_labels": species[manifest.labels[nearest]].tolist(),
            "neighbor_scores": neighbors.scores[:, :kept].tolist(),
            "neighbor_hits": hits[:, :kept].tolist(),
        }
    )
