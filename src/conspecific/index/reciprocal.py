"""k-reciprocal re-ranking: images are near where their mutual neighbours are the same."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from conspecific.index.gallery import block_slices, prepared
from conspecific.index.searcher import Searcher, score_matrix
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Similarity

SHARED = 2 / 3  # of a neighbour's mutual neighbours, above which they are added


class ReciprocalScores:
    """Scores of k-reciprocal re-ranking: minus the weighted mean of the Jaccard and the plain distance.

    The set of images that are compared is the query with the gallery, without the image of the gallery that has the
    query's sample id. Distances are squared and divided by the largest one of the image. A query that is in the gallery
    with the same vector shares one encoding of all images with the others; any other query needs one of its own, which
    is quadratic in the size of the gallery.
    Zhong et al. 2017, "Re-ranking person re-identification with k-reciprocal encoding" (k1 20, k2 6, weight 0.3).
    """

    def __init__(self, gallery: EmbeddingSet, metric: Similarity, k1: int, k2: int, distance_weight: float) -> None:
        self._vectors, self._ids, self._metric = prepared(gallery.vectors, metric), gallery.ids, metric
        self._k1, self._k2, self._weight = k1, k2, distance_weight
        self._row = {sample_id: row for row, sample_id in enumerate(gallery.ids.tolist())}

    @property
    def nbytes(self) -> int:
        """What is held of the gallery in memory."""
        encoded = self._encoded
        held: int = self._vectors.nbytes + encoded.data.nbytes + encoded.indices.nbytes + encoded.indptr.nbytes
        return held

    def __call__(self, queries: EmbeddingSet) -> FloatArray:
        """Return the scores [Q, N] of queries for all images. That of the query itself means nothing."""
        scores = np.zeros((len(queries), len(self._ids)), np.float32)
        for query, vector in enumerate(prepared(queries.vectors, self._metric)):
            own = self._row.get(int(queries.ids[query]), -1)
            if own >= 0 and np.array_equal(vector, self._vectors[own]):
                scores[query] = self._scored(self._vectors, self._encoded, own)
            else:
                others = np.arange(len(self._ids)) != own
                vectors = np.vstack([self._vectors[others], vector])
                encoded = encode(vectors, self._metric, self._k1, self._k2).tocsc()
                scores[query, others] = self._scored(vectors, encoded, len(vectors) - 1)[:-1]
        return scores

    @cached_property
    def _encoded(self) -> sparse.csc_array:
        return encode(self._vectors, self._metric, self._k1, self._k2).tocsc()

    def _scored(self, vectors: FloatArray, encoded: sparse.csc_array, query: int) -> FloatArray:
        plain = normalized_distances(vectors[query : query + 1], vectors, self._metric)[0]
        distances = (1 - self._weight) * jaccard_distances(encoded, query) + self._weight * plain
        scores: FloatArray = -distances.astype(np.float32)
        return scores


def encode(vectors: FloatArray, metric: Similarity, k1: int, k2: int) -> sparse.csr_array:
    """Return how much each image belongs to the mutual neighbourhood of each, [N, N]; rows sum to 1.

    vectors: [N, D], as `prepared` returns them. k1: neighbours of an image that may be mutual. k2: images, itself
    among them, whose rows are averaged.
    """
    count = len(vectors)
    nearest = _nearest(vectors, metric, min(k1, count - 1))
    mutual, half = _mutual(nearest, k1), _mutual(nearest, round(k1 / 2))
    shared = (mutual @ half.T).multiply(mutual).tocoo()  # of the half of a neighbour, how many the image has too
    added = shared.data > SHARED * half.sum(axis=1)[shared.col]
    taken = sparse.csr_array((np.ones(added.sum()), (shared.row[added], shared.col[added])), shape=(count, count))
    expanded = (mutual + taken @ half).tocsr()
    for rows in block_slices(count, 4 * count):
        distances = normalized_distances(vectors[rows], vectors, metric)
        within = slice(expanded.indptr[rows.start], expanded.indptr[rows.stop])
        lengths = np.diff(expanded.indptr[rows.start : rows.stop + 1])
        weights = np.exp(-distances[np.repeat(np.arange(len(lengths)), lengths), expanded.indices[within]])
        sums = np.add.reduceat(weights, np.cumsum(lengths) - lengths)  # no row is empty: an image is its own neighbour
        expanded.data[within] = weights / np.repeat(sums, lengths)
    averaged = nearest[:, :k2]
    mean: sparse.csr_array = _indicator(averaged) @ expanded / averaged.shape[1]
    return mean


def jaccard_distances(encoded: sparse.csc_array, row: int) -> NDArray[np.float64]:
    """Return the Jaccard distance of a row to each row, [N] in [0, 1]; rows sum to 1."""
    own = encoded[[row], :].tocoo()
    columns = encoded[:, own.col]
    both = np.minimum(columns.data, np.repeat(own.data, np.diff(columns.indptr)))
    shared = np.bincount(columns.indices, both, minlength=encoded.shape[0])
    distances: NDArray[np.float64] = 1 - shared / np.maximum(2 - shared, shared)  # within rounding, shared is 1 at most
    return distances


def normalized_distances(some: FloatArray, vectors: FloatArray, metric: Similarity) -> FloatArray:
    """Return squared distances [S, N], of normalized vectors for cosine, each row divided by its largest."""
    scores = score_matrix(some, vectors, metric)
    distances = np.maximum(2 - 2 * scores, 0) if metric == "cosine" else -scores
    scaled: FloatArray = distances / np.maximum(distances.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return scaled


def _nearest(vectors: FloatArray, metric: Similarity, k: int) -> IntArray:
    """Return each image and the k nearest others, [N, k + 1] rows."""
    rows = np.arange(len(vectors))
    if k == 0:
        return rows[:, None]
    images = EmbeddingSet(vectors, rows, np.full(len(rows), -1))
    return np.hstack([rows[:, None], Searcher(images, metric).search(images, k).ids])


def _mutual(nearest: IntArray, k: int) -> sparse.csr_array:
    """Return [N, N] ones where two images are among each other's k nearest, an image being its own."""
    forward = _indicator(nearest[:, : k + 1])
    return forward.multiply(forward.T).tocsr()


def _indicator(columns: IntArray) -> sparse.csr_array:
    """Return [N, N] ones in the given columns of each row."""
    count, width = columns.shape
    places = (np.repeat(np.arange(count), width), columns.ravel())
    return sparse.csr_array((np.ones(columns.size), places), shape=(count, count))
