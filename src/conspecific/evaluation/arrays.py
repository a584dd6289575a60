"""Score vectors and labels as a notebook has them: arrays, lists or tensors, without a manifest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from conspecific.errors import DataError
from conspecific.evaluation.compare import Difference, compare
from conspecific.evaluation.evaluate import Names, score
from conspecific.metrics import KS, describe_geometry
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Similarity


@dataclass(frozen=True, slots=True)
class ComparedResult(EvalResult):
    """A result with its paired differences over a reference: one `Difference` per metric, as `compare` returns them."""

    differences: tuple[Difference, ...] = ()


def evaluate(
    vectors: Any,
    labels: Iterable[Any],
    *,
    gallery: Any = None,
    gallery_labels: Iterable[Any] | None = None,
    ids: Iterable[Any] | None = None,
    gallery_ids: Iterable[Any] | None = None,
    metric: Similarity = "cosine",
    ks: Sequence[int] = KS,
    reference: EvalResult | None = None,
    max_queries: int | None = None,
) -> ComparedResult:
    """Search each vector among the others, or in a gallery, and score whether the nearest share its label.

    The search is exact, and it is what `conspecific train` and `conspecific evaluate` score with; docs/metrics.md
    defines the metrics and names their sources.

    vectors: [N, D] of the queries, an array or tensor of any float type; they are searched as float32, on the GPU if
        they are a tensor there.
    labels: N strings or integers, such as species; None or -1 is an unknown label, which is nobody's positive.
    gallery, gallery_labels: [M, D] and M labels to search in; without them, each query is searched among the others.
    ids, gallery_ids: names of the images, unique within each, such as paths; the row numbers if not given. A query that
        is in the gallery under the same id leaves itself out; without `gallery_ids`, gallery images are other images.
    metric: "cosine", or "l2" for the Euclidean distance. ks: the cut-offs of recall@k, each 1 or more.
    reference: the result of other embeddings of the same queries, such as those before training; `differences` of what
        is returned then holds the paired difference of every metric with its 95 % interval.
    max_queries: if more queries than this have a positive, score a sample of so many, drawn with a fixed seed, in the
        whole gallery; `facts["sampled_from"]` is then the number of queries that it was drawn from. The standard error
        of a mean over 10,000 queries is at most 0.005. The sample is the same for other vectors of the same labels.

    Returns an EvalResult with `differences`: `metrics` and `macro` map names to values in [0, 1], `per_query` is a
    table with a row for each query that has a positive, whose labels are those given. There, `id` is the row of the
    query in `vectors`, `neighbor_ids` are rows of the gallery, and `path` and `neighbor_paths` are the ids, as text.

    Raises ValueError (DataError, ConfigError) for vectors that are not finite or not [N, D], labels or ids of another
    length, labels that are neither strings nor integers, ids that are repeated, an empty gallery, a gallery of other
    dimensions, and if no query has a positive.

    >>> vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.8, 0.3]])
    >>> result = evaluate(vectors, ["wren", "wren", "owl", "owl", "wren"], ks=(1, 2))
    >>> result.metrics["recall@1"], result.metrics["recall@2"]
    (1.0, 1.0)
    >>> result.per_query["neighbor_labels"][0].to_list()
    ['wren', 'wren', 'owl', 'owl']
    >>> other = evaluate(-vectors[:, ::-1] + vectors, ["wren", "wren", "owl", "owl", "wren"], reference=result)
    >>> other.differences[0].metric, other.differences[0].lost
    ('recall@1', 0)
    """
    if metric not in ("cosine", "l2"):
        raise DataError(f"metric={metric} is unknown. Known here: cosine, l2.")
    if (gallery is None) != (gallery_labels is None) or (gallery is None and gallery_ids is not None):
        raise DataError("gallery and gallery_labels must be given together, and gallery_ids only with them")
    if max_queries is not None and max_queries < 1:
        raise DataError(f"max_queries must be 1 or more, or None for all queries; found {max_queries}")
    query_vectors = _vectors(vectors, "vectors")
    query_labels = _labels(labels, len(query_vectors), "labels")
    searched = query_vectors if gallery is None else _vectors(gallery, "gallery")
    known = query_labels if gallery_labels is None else _labels(gallery_labels, len(searched), "gallery_labels")
    species, codes = _numbered(query_labels, known)
    own = _ids(ids, len(query_vectors), "ids")
    others = own if gallery is None else _ids(gallery_ids, len(searched), "gallery_ids")
    paired = gallery is None or gallery_ids is not None
    rows, paths = _sample_ids(own, others) if paired else (np.arange(len(own)) + len(others), others.append(own))
    queries = EmbeddingSet(query_vectors, rows, codes[: len(rows)])
    images = EmbeddingSet(searched, np.arange(len(searched)), codes[len(codes) - len(searched) :])
    _require_one_label_each(queries, images, paths)
    device = vectors.device if getattr(vectors, "is_cuda", False) else None
    result = score(queries, images, Names(paths, species), metric, ks, max_queries=max_queries, device=device)
    row_of = np.zeros(len(paths), np.int64)
    row_of[rows] = np.arange(len(rows))
    numbered = result.per_query.with_columns(id=row_of[result.per_query["id"].to_numpy()])
    geometry = describe_geometry(query_vectors, queries.labels).to_json() if len(queries) > 1 else None
    found = ComparedResult(result.metrics, result.macro, numbered, {**result.facts, "geometry": geometry})
    return found if reference is None else replace(found, differences=tuple(compare(found, reference)))


def _vectors(given: Any, name: str) -> FloatArray:
    """Return finite float32 vectors [N, D], without a copy if they are that already."""
    found = given.detach().cpu().float().numpy() if hasattr(given, "detach") else np.asarray(given)
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.number) or 0 in found.shape:
        raise DataError(f"{name} must be numbers of shape [N, D], N and D from 1; found {found.dtype} {found.shape}")
    with np.errstate(over="ignore"):
        vectors: FloatArray = np.ascontiguousarray(found, np.float32)
    broken = np.flatnonzero(~np.isfinite(vectors.sum(axis=1, dtype=np.float64)))  # no sum of float32 overflows float64
    if broken.size:
        raise DataError(f"{broken.size} of {len(vectors)} {name} hold NaN or Inf, first rows {broken[:5].tolist()}")
    return vectors


def _labels(given: Iterable[Any], count: int, name: str) -> pl.Series:
    """Return labels as strings or integers, null where they are unknown."""
    values = given.tolist() if hasattr(given, "tolist") else list(given)
    try:
        labels = pl.Series("label", values, strict=True)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{name} must be all strings or all integers: {str(error).splitlines()[0]}") from error
    if not (labels.dtype.is_integer() or labels.dtype in (pl.String, pl.Null)):
        raise DataError(f"{name} must be strings or integers; found {labels.dtype}")
    if len(labels) != count:
        raise DataError(f"there must be one label for each vector; found {len(labels)} {name} for {count} vectors")
    return labels.cast(pl.Int64).replace(-1, None) if labels.dtype.is_integer() else labels


def _numbered(*parts: pl.Series) -> tuple[pl.Series, IntArray]:
    """Return the different labels in order, null at the end, and the place of each label in them, -1 for null."""
    kinds = {part.dtype for part in parts} - {pl.Null}
    if len(kinds) > 1:
        raise DataError(f"labels and gallery_labels must be of one type; found {' and '.join(map(str, kinds))}")
    labels = pl.concat([part.cast(next(iter(kinds), pl.String())) for part in parts])
    species = labels.drop_nulls().unique().sort()
    codes = labels.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    return species.append(pl.Series([None], dtype=species.dtype)), codes


def _ids(given: Iterable[Any] | None, count: int, name: str) -> pl.Series:
    """Return ids as text, the row numbers if none are given."""
    if given is None:
        return pl.int_range(count, eager=True).cast(pl.String).alias("path")
    ids = pl.Series("path", [str(value) for value in given], pl.String)
    if len(ids) != count or ids.n_unique() != count:
        raise DataError(f"{name} must be {count} different names, one for each vector; found {ids.n_unique()}")
    return ids


def _sample_ids(own: pl.Series, others: pl.Series) -> tuple[IntArray, pl.Series]:
    """Return the sample id of each query, the gallery's row if it is there, and the paths of all sample ids."""
    if own is others:
        return np.arange(len(own)), own
    place = {name: row for row, name in enumerate(others)}
    alone = [name for name in own if name not in place]
    place |= {name: row for row, name in enumerate(alone, start=len(others))}
    paths = pl.concat([others, pl.Series("path", alone, pl.String)])
    return np.array([place[name] for name in own], np.int64), paths


def _require_one_label_each(queries: EmbeddingSet, gallery: EmbeddingSet, paths: pl.Series) -> None:
    """Raise DataError where a query has another label as an image of the gallery."""
    shared = queries.ids < len(gallery)
    rows = queries.ids[shared]
    if (other := rows[queries.labels[shared] != gallery.labels[rows]]).size:
        raise DataError(f"{other.size} queries have another label in the gallery, first id {paths[int(other[0])]}")
