"""What each kind of index, and each shorter embedding, costs in retrieval quality, and what it saves."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.evaluation.compare import Difference, compare
from conspecific.evaluation.evaluate import evaluate
from conspecific.index import make_searcher, structure_bytes
from conspecific.index.kinds import KINDS, LEAST_FOR_CODES, Kind
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Neighbors, Similarity

SHORTER = (2, 4, 8, 16)  # parts of the dimensions that are kept
COMPARED = ("recall@1", "map@r")
NEAREST = 10  # of index_recall@10


@dataclass(frozen=True, slots=True)
class IndexCost:
    """One way to search the same images.

    recall: share of the ten nearest of an exact search over all dimensions that are among its ten. bytes_per_image: of
    memory. build_seconds: to build it from embeddings. queries_per_second: ten answers each, all queries at once.
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


def index_costs(
    embeddings: EmbeddingSet,
    subset: Subset,
    manifest: Manifest,
    metric: Similarity,
    facts: Mapping[str, Any],
    say: Callable[[str], None],
) -> list[IndexCost]:
    """Search a subset in each way, the exact search over all dimensions first. facts: of its protocol, for `compare`.

    Shorter embeddings are searched exactly: the first dimensions, and PCA-whitened ones, whose principal axes come from
    the gallery (Jégou and Chum 2012). say: gets the name of each way before it is measured.
    """
    costs: list[IndexCost] = []
    exact: tuple[EvalResult, Neighbors] | None = None
    for name, kind, vectors in _ways(embeddings, subset):
        say(name)
        gallery, queries = vectors.select(subset.gallery), vectors.select(subset.query)
        began = time.perf_counter()
        searcher = make_searcher(gallery, metric, kind)
        built = time.perf_counter()
        found = searcher.search(queries, NEAREST)
        searched = time.perf_counter()
        result = evaluate(vectors, subset, manifest, metric, facts, searcher=searcher)
        exact = exact or (result, found)
        cost = IndexCost(
            name,
            vectors.vectors.shape[1],
            _shared(found.ids, exact[1].ids),
            structure_bytes(searcher) / len(gallery),
            built - began,
            len(queries) / (searched - built),
            {each: result.metrics[each] for each in COMPARED},
            tuple(each for each in compare(result, exact[0]) if each.metric in COMPARED) if costs else (),
        )
        costs.append(cost)
    return costs


def pca_whitened(vectors: FloatArray, gallery: FloatArray, dimensions: int) -> FloatArray:
    """Return vectors [N, D] along the principal axes of a gallery, each scaled to variance 1 there, [N, dimensions].

    dimensions: fewer than the images of the gallery. Jégou and Chum 2012, "Negative evidences and co-occurences in
    image retrieval: the benefit of PCA and whitening".
    """
    centre = gallery.mean(axis=0, dtype=np.float64)
    covariance = np.cov(gallery.astype(np.float64), rowvar=False)
    variances, axes = np.linalg.eigh(covariance)
    largest = np.argsort(-variances)[:dimensions]
    scale = np.sqrt(np.maximum(variances[largest], variances.max() * 1e-6))
    whitened: FloatArray = ((vectors - centre) @ (axes[:, largest] / scale)).astype(np.float32)
    return whitened


def _ways(embeddings: EmbeddingSet, subset: Subset) -> Iterator[tuple[str, Kind, EmbeddingSet]]:
    for kind in KINDS:
        if kind != "ivfpq" or len(subset.gallery) >= LEAST_FOR_CODES:
            yield kind, kind, embeddings
    vectors, images = embeddings.vectors, embeddings.select(subset.gallery).vectors
    for part in SHORTER:
        if (dimensions := vectors.shape[1] // part) >= 8:
            yield f"first {dimensions}", "exact", _with(embeddings, np.ascontiguousarray(vectors[:, :dimensions]))
            if dimensions < len(images):
                yield f"PCA {dimensions}", "exact", _with(embeddings, pca_whitened(vectors, images, dimensions))


def _with(embeddings: EmbeddingSet, vectors: FloatArray) -> EmbeddingSet:
    return EmbeddingSet(vectors, embeddings.ids, embeddings.labels)


def _shared(found: IntArray, exact: IntArray) -> float:
    """Return the mean share of the exact neighbours that were found. found, exact: [Q, K], -1 for none."""
    shared = [len(set(one) & set(other) - {-1}) for one, other in zip(found.tolist(), exact.tolist(), strict=True)]
    return float(np.sum(shared) / max(1, int((exact >= 0).sum())))
