"""The one scoring path: validation, the final test, the baseline, the command and the library all use it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.errors import DataError
from conspecific.index import GallerySearcher, Searcher
from conspecific.metrics import KS, describe_geometry, largest_k, macro_mean, metric_names, score_queries
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Neighbors, Similarity

if TYPE_CHECKING:
    import torch  # takes seconds to import, and is only needed where scores are computed on its devices

KEPT = 10  # neighbours kept for each query, for people to look at
BLOCK_HITS = 1 << 24  # hits held at once while scoring; bounds memory whatever the size of the largest species
SAMPLE_SEED = 0


def evaluate(
    embeddings: EmbeddingSet,
    subset: Subset,
    manifest: Manifest,
    metric: Similarity,
    facts: Mapping[str, Any] | None = None,
    ks: Sequence[int] = KS,
    device: "torch.device | None" = None,
    searcher: GallerySearcher | None = None,
    exclude_group: bool = False,
) -> EvalResult:
    """Score embeddings of a manifest: search every query of `subset` in its gallery, itself left out, compare species.

    embeddings: must hold every image of the subset. ks: cut-offs of recall. device: see `Searcher`.
    searcher: of the gallery, where it is not to be an exact one. exclude_group: whether a query's group is left out of
        its answers too; a searcher must then have been made of embeddings with groups, see `with_groups`.
    Queries without a positive are left out of the means and counted in `facts["excluded"]`; those whose species is
    known are in `EvalResult.new`.
    Raises DataError when no query has a positive.
    """
    if exclude_group:
        embeddings = with_groups(embeddings, manifest)
    queries, gallery = embeddings.select(subset.query), embeddings.select(subset.gallery)
    species = pl.Series([*manifest.species, None], dtype=pl.String)
    result = score(
        queries, gallery, Names(manifest.table["path"], species), metric, ks, device=device, searcher=searcher
    )
    geometry = describe_geometry(embeddings.vectors, embeddings.labels).to_json()
    told = {**(facts or {}), **({"exclude_group": True} if exclude_group else {})}
    if manifest.taxa:
        told["taxa"] = manifest.taxa
    if manifest.grouped:
        new = None if result.new is None else _grouped(result.new, manifest)
        result = replace(result, per_query=_grouped(result.per_query, manifest), new=new)
    return replace(result, facts={**told, **result.facts, "geometry": geometry})


def _grouped(queries: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    return queries.with_columns(group=pl.Series(manifest.groups[queries["id"].to_numpy()]))


def with_groups(embeddings: EmbeddingSet, manifest: Manifest) -> EmbeddingSet:
    """Return embeddings that know the groups of a manifest, so that a search leaves a query's group out."""
    return replace(embeddings, groups=manifest.groups[embeddings.ids])


class Names(NamedTuple):
    """What people call images and species. paths: by sample id. species: by label; the last, null, is for label -1."""

    paths: pl.Series
    species: pl.Series


def score(
    queries: EmbeddingSet,
    gallery: EmbeddingSet,
    names: Names,
    metric: Similarity,
    ks: Sequence[int] = KS,
    *,
    max_queries: int | None = None,
    device: "torch.device | None" = None,
    searcher: GallerySearcher | None = None,
) -> EvalResult:
    """Search queries in a gallery and score the answers; a query leaves itself out by its sample id.

    Where the embeddings have groups, it leaves its group out. Sample ids are below `len(names.paths)`.
    max_queries: search a seeded sample of so many of the queries that have a positive; `facts["sampled_from"]` is then
    the number of those. device: see `Searcher`. searcher: of the gallery; None: an exact one.
    Raises DataError when no query has a positive.
    """
    labels = np.full(len(names.paths), -1)
    labels[gallery.ids], labels[queries.ids] = gallery.labels, queries.labels
    support = Subset(queries.ids, gallery.ids).count_positives(labels, _groups(queries, gallery, len(labels)))
    if not support.any():
        outside = ", outside its own group" if queries.groups is not None else ""
        raise DataError(f"none of {len(queries)} queries has another image of its species in the gallery{outside}")
    answerable = np.flatnonzero(support)
    chosen = _sample(answerable, max_queries)
    scored, positives = queries.select(queries.ids[chosen]), support[chosen]
    searcher = searcher or Searcher(gallery, metric, device)
    width = max(int(positives.max()), KEPT, largest_k(ks))
    step = max(1, BLOCK_HITS // width)
    tables = []
    for start in range(0, len(scored), step):
        block = scored.select(scored.ids[start : start + step])
        tables.append(_score_block(searcher, block, positives[start : start + step], width, labels, names, ks))
    counts = {
        "similarity": metric,
        "dimensions": queries.vectors.shape[1],
        "gallery": len(gallery),
        "excluded": len(queries) - len(answerable),
    }
    if len(chosen) < len(answerable):
        counts["sampled_from"] = len(answerable)
    absent = _sample(np.flatnonzero((support == 0) & (queries.labels >= 0)), max_queries)
    new = _describe_new(searcher, queries.select(queries.ids[absent]), labels, names) if absent.size else None
    if new is not None:
        counts["new"] = new.height
    return _result(pl.concat(tables), metric_names(ks), counts, new)


def _groups(queries: EmbeddingSet, gallery: EmbeddingSet, count: int) -> IntArray | None:
    """Return the group of each sample id below `count`, None where there are none."""
    if queries.groups is None or gallery.groups is None:
        return None
    groups = np.full(count, -1)
    groups[gallery.ids], groups[queries.ids] = gallery.groups, queries.groups
    return groups


def _sample(rows: IntArray, most: int | None) -> IntArray:
    """Return the rows, or a seeded sample of `most` of them, in their order."""
    if most is None or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(rows, most, replace=False))


def without_queries(result: EvalResult, ids: IntArray) -> EvalResult:
    """Return the result without these queries, by sample id; the gallery stays as it was.

    Raises DataError when no query remains.
    """
    kept = result.per_query.filter(~pl.col("id").is_in(ids.tolist()))
    if kept.is_empty():
        raise DataError(f"all {result.per_query.height} queries would be excluded: no query remains to score")
    new = None if result.new is None else result.new.filter(~pl.col("id").is_in(ids.tolist()))
    facts = result.facts if new is None else {**result.facts, "new": new.height}
    return _result(kept, result.metrics, facts, new)


def joined(results: Sequence[EvalResult]) -> EvalResult:
    """Return the result over the queries of several, of which no two share a query: those of folds.

    What describes a single gallery or set of embeddings is left out of its facts, unless there is one result alone.
    """
    first, *others = results
    if not others:
        return first
    facts = {name: value for name, value in first.facts.items() if name not in ("gallery", "geometry", "new")}
    excluded = sum(result.facts["excluded"] for result in results)
    return _result(pl.concat([each.per_query for each in results]), first.metrics, {**facts, "excluded": excluded})


def _result(
    per_query: pl.DataFrame, metrics: Iterable[str], facts: Mapping[str, Any], new: pl.DataFrame | None = None
) -> EvalResult:
    """Average the queries (micro) and the species (macro)."""
    species = per_query["label"].rank("dense").to_numpy().astype(np.int64)
    values = {name: per_query[name].to_numpy() for name in metrics}
    micro = {name: float(found.mean()) for name, found in values.items()}
    macro = {name: macro_mean(found, species) for name, found in values.items()}
    counts = {"queries": per_query.height, "species": int(species.max())}
    return EvalResult(micro, macro, per_query, {**facts, **counts}, new)


def _score_block(
    searcher: GallerySearcher,
    query: EmbeddingSet,
    positives: IntArray,
    width: int,
    labels: IntArray,
    names: Names,
    ks: Sequence[int],
) -> pl.DataFrame:
    neighbors = searcher.search(query, width)
    hits = (labels[neighbors.ids] == query.labels[:, None]) & (neighbors.ids >= 0)
    first_rank = hits.argmax(axis=1) + 1
    late = np.flatnonzero(~hits.any(axis=1))
    if late.size:
        first_rank[late] = searcher.rank_of_first_positive(query.select(query.ids[late]), beyond=width)
    values = score_queries(hits, positives, first_rank, ks)
    described = _describe(query, positives, neighbors, hits, labels, names)
    other = pl.Series("other_score", _best_others(searcher, query, neighbors, hits)).fill_nan(None)
    return described.with_columns([other, *(pl.Series(name, found) for name, found in values.items())])


def _best_others(
    searcher: GallerySearcher, query: EmbeddingSet, neighbors: Neighbors, hits: NDArray[np.bool_]
) -> FloatArray:
    """Return the score of the nearest image of another species to each query, NaN where there is none. [Q]"""
    others = (neighbors.ids >= 0) & ~hits
    first = others.argmax(axis=1)
    found: FloatArray = np.where(others.any(axis=1), neighbors.scores[np.arange(len(query)), first], np.nan)
    last = np.flatnonzero(hits.all(axis=1))
    if last.size:  # as wide as the largest species: what comes next is of another one
        more = searcher.search(query.select(query.ids[last]), hits.shape[1] + 1)
        found[last] = np.where(more.ids[:, -1] >= 0, more.scores[:, -1], np.nan)
    return found


def _describe_new(
    searcher: GallerySearcher, query: EmbeddingSet, labels: IntArray, names: Names
) -> pl.DataFrame | None:
    """Return the table of queries whose species is not in the gallery, see `EvalResult.new`."""
    neighbors = searcher.search(query, KEPT)
    answered = (neighbors.ids >= 0).any(axis=1)  # a query may leave out the whole gallery as its group
    if not answered.any():
        return None
    query, neighbors = query.select(query.ids[answered]), Neighbors(neighbors.ids[answered], neighbors.scores[answered])
    hits = np.zeros(neighbors.ids.shape, np.bool_)
    return _describe(query, hits.sum(axis=1), neighbors, hits, labels, names).drop("positives", "neighbor_hits")


def _describe(
    query: EmbeddingSet,
    positives: IntArray,
    neighbors: Neighbors,
    hits: np.ndarray,
    labels: IntArray,
    names: Names,
) -> pl.DataFrame:
    """Return the per-query table of EvalResult without its metrics."""
    paths, species = names
    kept = neighbors.ids[:, :KEPT]
    answers = pl.DataFrame(
        {
            "query": np.repeat(np.arange(len(query)), kept.shape[1]),
            "neighbor_ids": kept.ravel(),
            "neighbor_scores": neighbors.scores[:, :KEPT].ravel(),
            "neighbor_hits": hits[:, :KEPT].ravel(),
        }
    ).filter(pl.col("neighbor_ids") >= 0)
    found = answers["neighbor_ids"].to_numpy()
    answers = answers.with_columns(
        neighbor_paths=paths.gather(found),
        neighbor_labels=species.gather(np.where(labels[found] < 0, len(species) - 1, labels[found])),
    )
    columns = [f"neighbor_{name}" for name in ("ids", "paths", "labels", "scores", "hits")]
    # every scored query has a positive and so an answer: grouping loses no row
    lists = answers.group_by("query", maintain_order=True).agg(columns).drop("query")
    described = {"id": query.ids, "path": paths.gather(query.ids), "label": species.gather(query.labels)}
    return pl.DataFrame(described | {"positives": positives}).hstack(lists)
