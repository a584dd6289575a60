"""Refine a search by averaging: queries with their answers, or images of the gallery with their neighbours."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from conspecific.index.gallery import block_slices, prepared
from conspecific.index.searcher import GallerySearcher, Searcher, score_matrix
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors, Similarity


class QueryExpansion:
    """Alpha query expansion: a query is searched again as the weighted mean of itself and its nearest images.

    The weight of an image is its cosine similarity to the query, not below 0, to the power of alpha; that of the query
    is 1. A query leaves itself out of both searches by its sample id.
    Radenovic et al. 2018, "Fine-tuning CNN image retrieval with no human annotation" (alpha 3, 50 images).
    """

    def __init__(
        self, gallery: EmbeddingSet, metric: Similarity, searcher: GallerySearcher, count: int, alpha: float
    ) -> None:
        self._gallery, self._metric, self._searcher = gallery, metric, searcher
        self._count, self._alpha = min(count, len(gallery)), alpha

    @property
    def gallery_bytes(self) -> int:
        """What the plain search holds in memory, and the vectors that are averaged."""
        return self._searcher.gallery_bytes + self._gallery.vectors.nbytes

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors:
        """Return the k nearest images of each expanded query; see `Searcher.search`."""
        return self._searcher.search(self._expanded(queries), k)

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray:
        """Return the ranks in the search of the expanded queries; see `Searcher.rank_of_first_positive`."""
        return self._searcher.rank_of_first_positive(self._expanded(queries), beyond)

    def _expanded(self, queries: EmbeddingSet) -> EmbeddingSet:
        found = self._searcher.search(queries, self._count).ids
        vectors = np.empty((len(queries), queries.vectors.shape[1]), np.float32)
        for part in block_slices(len(queries), 4 * vectors.shape[1] * (self._count + 1)):
            near = self._gallery.vectors[rows_of(self._gallery, found[part])]
            vectors[part] = expand(queries.vectors[part], near, found[part] >= 0, self._alpha, self._metric)
        return replace(queries, vectors=vectors)


def expand(
    queries: FloatArray, near: FloatArray, known: NDArray[np.bool_], alpha: float, metric: Similarity
) -> FloatArray:
    """Return queries [Q, D] averaged with images [Q, N, D], of which only `known` ones [Q, N] count.

    Vectors that are compared by cosine are normalized first.

    >>> near = np.array([[[0, 2], [-1, 0]]], np.float32)
    >>> expand(np.array([[3, 3]], np.float32), near, np.array([[True, True]]), 2, "cosine").round(3).tolist()
    [[0.471, 0.805]]
    """
    units = prepared(queries, "cosine"), prepared(near.reshape(-1, near.shape[2]), "cosine").reshape(near.shape)
    weights = np.maximum(np.einsum("qd,qnd->qn", *units), 0) ** alpha * known
    own, others = units if metric == "cosine" else (queries, near)
    mean: FloatArray = (own + np.einsum("qn,qnd->qd", weights, others)) / (1 + weights.sum(axis=1, keepdims=True))
    return mean.astype(np.float32)


class AugmentedScores:
    """Database-side augmentation: each image of the gallery becomes the weighted mean of itself and its neighbours.

    The neighbour of rank r of n has the weight (n - r) / n, and the image itself 1. A query that is in the gallery is
    left out of its neighbours' means, where the next neighbour moves up: no image may be found by what it lends.
    Gordo et al. 2017, "End-to-end learning of deep visual representations for image retrieval" (n = 20).
    """

    def __init__(self, gallery: EmbeddingSet, metric: Similarity, count: int) -> None:
        self._metric, self._vectors, self._ids = metric, prepared(gallery.vectors, metric), gallery.ids
        self._count = min(count, len(gallery) - 1)
        found = Searcher(gallery, metric).search(gallery, self._count + 1).ids  # one more, where one is left out
        self._near = np.where(found < 0, -1, rows_of(gallery, found))
        self._augmented = self._means(np.arange(len(gallery)), self._near[:, : self._count])

    @property
    def nbytes(self) -> int:
        """What is held of the gallery in memory."""
        return self._vectors.nbytes + self._augmented.nbytes + self._near.nbytes

    def __call__(self, queries: EmbeddingSet) -> FloatArray:
        """Return the scores [Q, N] of queries for all images."""
        vectors = prepared(queries.vectors, self._metric)
        scores = score_matrix(vectors, self._augmented, self._metric)
        own = {sample_id: row for row, sample_id in enumerate(self._ids.tolist())}
        for query, sample_id in enumerate(queries.ids.tolist()):
            rows, ranks = np.nonzero(self._near[:, : self._count] == own.get(sample_id, -2))
            if rows.size:
                near = self._near[rows]
                near = near[np.arange(near.shape[1]) != ranks[:, None]].reshape(len(rows), -1)
                means = self._means(rows, near)
                scores[query, rows] = score_matrix(vectors[query : query + 1], means, self._metric)[0]
        return scores

    def _means(self, rows: IntArray, near: IntArray) -> FloatArray:
        """Return images averaged with their neighbours [rows, n], nearest first, -1 for none; as `prepared`."""
        means = np.empty((len(rows), self._vectors.shape[1]), np.float32)
        weights = 1 - np.arange(1, near.shape[1] + 1) / max(1, self._count)
        for part in block_slices(len(rows), 4 * means.shape[1] * (near.shape[1] + 1)):
            counted = (weights * (near[part] >= 0)).astype(np.float32)
            total = self._vectors[rows[part]] + np.einsum("rn,rnd->rd", counted, self._vectors[near[part]])
            means[part] = total / (1 + counted.sum(axis=1, keepdims=True))
        return prepared(means, self._metric)


def rows_of(gallery: EmbeddingSet, ids: IntArray) -> IntArray:
    """Return the rows of sample ids of the gallery, in the shape of the ids; any row for an id that it has not."""
    order = np.argsort(gallery.ids)
    rows: IntArray = order[np.minimum(np.searchsorted(gallery.ids, ids, sorter=order), len(order) - 1)]
    return rows
