"""What each kind of index, each shorter embedding and each refinement of answers costs and gains."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from conspecific.config.refine import RefineConfig
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.evaluation.compare import Difference, compare
from conspecific.evaluation.evaluate import evaluate
from conspecific.index import GallerySearcher, Searcher, make_searcher
from conspecific.index.flip import flip_averaged
from conspecific.index.kinds import KINDS, LEAST_FOR_CODES
from conspecific.index.refined import make_refined
from conspecific.index.whitening import pca_whitened
from conspecific.index.wiener import WienerFilter
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Neighbors, Similarity

PARTS, LEAST = (1, 2, 4, 8, 16), 8  # of the dimensions that are kept, and how many at least
REFINED = {"expansion": "query_expansion", "augmented": "database_augmentation", "reciprocal": "k_reciprocal"}
COMPARED = ("recall@1", "map@r")
NEAREST = 10  # of index_recall@10


@dataclass(frozen=True, slots=True)
class IndexCost:
    """One way to search the same images.

    recall: share of the ten nearest of an exact search over all dimensions that are among its ten. bytes_per_image: of
    memory. build_seconds: to build it from embeddings. queries_per_second: ten answers each, all queries at once. Both
    include the second encoding of images where there is one.
    metrics: recall@1 and map@r. differences: those to the exact search over all dimensions; none for that itself.
    """

    name: str
    dimensions: int
    recall: float
    bytes_per_image: float
    build_seconds: float
    queries_per_second: float
    metrics: Mapping[str, float]
    differences: tuple[Difference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(**{**stored, "differences": tuple(map(Difference.from_json, stored["differences"]))})


class Flipped(NamedTuple):
    """The embeddings of the same images, mirrored left to right, and the seconds that one took."""

    embeddings: EmbeddingSet
    seconds: float


class Way(NamedTuple):
    """One way to search. build: a searcher of a gallery. seconds: to encode an image a second time."""

    name: str
    embeddings: EmbeddingSet
    build: Callable[[EmbeddingSet], GallerySearcher]
    seconds: float = 0.0


def index_costs(
    embeddings: EmbeddingSet,
    subset: Subset,
    manifest: Manifest,
    metric: Similarity,
    facts: Mapping[str, Any],
    say: Callable[[str], None],
    flipped: Flipped | None = None,
    within: FloatArray | None = None,
) -> list[IndexCost]:
    """Search a subset in each way, the exact search over all dimensions first. facts: of its protocol, for `compare`.

    Shorter embeddings are searched exactly: the first dimensions, and PCA-whitened ones, whose principal axes come from
    the gallery (Jégou and Chum 2012). Refined answers have the published defaults of `RefineConfig`. flipped: for
    embeddings that are averaged with them; None leaves these out. within: covariance within species, for embeddings
    that are filtered by it; None leaves these out. say: gets the name of each way before it is measured.
    """
    costs: list[IndexCost] = []
    exact: tuple[EvalResult, Neighbors] | None = None
    for way in _ways(embeddings, subset, metric, flipped, within):
        say(way.name)
        gallery, queries = way.embeddings.select(subset.gallery), way.embeddings.select(subset.query)
        began = time.perf_counter()
        searcher = way.build(gallery)
        searcher.search(queries.select(queries.ids[:1]), 1)  # what the first search computes for all belongs to this
        built = time.perf_counter()
        found = searcher.search(queries, NEAREST)
        searched = time.perf_counter()
        result = evaluate(way.embeddings, subset, manifest, metric, facts, searcher=searcher)
        exact = exact or (result, found)
        cost = IndexCost(
            way.name,
            way.embeddings.vectors.shape[1],
            _shared(found.ids, exact[1].ids),
            searcher.gallery_bytes / len(gallery),
            built - began + way.seconds * len(gallery),
            len(queries) / (searched - built + way.seconds * len(queries)),
            {each: result.metrics[each] for each in COMPARED},
            tuple(each for each in compare(result, exact[0]) if each.metric in COMPARED) if costs else (),
        )
        costs.append(cost)
    return costs


def _ways(
    embeddings: EmbeddingSet,
    subset: Subset,
    metric: Similarity,
    flipped: Flipped | None,
    within: FloatArray | None,
) -> Iterator[Way]:
    for kind in KINDS:
        if kind != "ivfpq" or len(subset.gallery) >= LEAST_FOR_CODES:
            yield Way(kind, embeddings, partial(make_searcher, metric=metric, kind=kind))
    exact = partial(Searcher, metric=metric)
    vectors, images = embeddings.vectors, embeddings.select(subset.gallery).vectors
    for part in PARTS:
        dimensions = vectors.shape[1] // part
        if part > 1 and dimensions >= LEAST:
            yield Way(f"first {dimensions}", _with(embeddings, np.ascontiguousarray(vectors[:, :dimensions])), exact)
        if LEAST <= dimensions < len(images):
            yield Way(f"PCA {dimensions}", _with(embeddings, pca_whitened(vectors, images, dimensions)), exact)
    for name, method in REFINED.items():
        yield Way(name, embeddings, partial(make_refined, metric=metric, config=RefineConfig(method)))
    if flipped is not None:
        yield Way("flip", flip_averaged(embeddings, flipped.embeddings, metric), exact, flipped.seconds)
    if within is not None:
        yield Way("wiener", _with(embeddings, WienerFilter.fit(images, within)(vectors)), exact)


def _with(embeddings: EmbeddingSet, vectors: FloatArray) -> EmbeddingSet:
    return EmbeddingSet(vectors, embeddings.ids, embeddings.labels)


def _shared(found: IntArray, exact: IntArray) -> float:
    """Return the mean share of the exact neighbours that were found. found, exact: [Q, K], -1 for none."""
    shared = [len(set(one) & set(other) - {-1}) for one, other in zip(found.tolist(), exact.tolist(), strict=True)]
    return float(np.sum(shared) / max(1, int((exact >= 0).sum())))
