"""Exact nearest neighbours of queries in a gallery of any size."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from conspecific.index.first_positive import FirstPositives
from conspecific.index.gallery import (
    Gallery,
    block_slices,
    prepared,
    require_finite,
    require_groups,
    stored_vectors,
)
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors, Similarity

if TYPE_CHECKING:
    import torch  # takes seconds to import, and a search on the processor does without


class GallerySearcher(Protocol):
    """What evaluation needs of a search: a query leaves itself, or its group, out; see `Searcher`."""

    @property
    def gallery_bytes(self) -> int: ...

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors: ...

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray: ...


class Searcher:
    """Exact search with faiss; a query excludes itself by its sample id, or all of its group.

    gallery: N >= 1 embeddings, finite, sample ids >= 0; the vectors may be memory-mapped and larger than memory. With
        groups, queries must have groups too.
    metric: "cosine" scores with the cosine similarity, 0 for a zero vector; "l2" with minus the squared distance.
    device: where `search` multiplies; None searches with faiss on the processor. The same float32 scores are summed in
        another order there, so that images whose scores differ by rounding alone may change places.

    Gallery and queries are held in blocks of at most 256 MB, three or four at a time; a gallery of one block is indexed
    once and kept.
    Ties are ordered by a seeded random order of the gallery; faiss chooses which images of a tie at rank K are kept.

    Scores are float32 sums. For l2 faiss sums (q - g)^2 for a small batch and expands it to |q|^2 + |g|^2 - 2 qg for a
    large one (queries x dimensions >= 128,000 in faiss 1.15): the error of a distance is then up to 3e-6 (|q|^2 +
    |g|^2), not 3e-6 of the distance, and the order of near-duplicates is unreliable.

    >>> vectors = np.array([[1, 0], [2, 0.1], [0, 1]], np.float32)
    >>> images = EmbeddingSet(vectors, ids=np.array([7, 8, 9]), labels=np.array([0, 0, 1]))
    >>> Searcher(images, "cosine").search(images, k=1).ids.tolist()
    [[8], [7], [8]]
    """

    def __init__(self, gallery: EmbeddingSet, metric: Similarity, device: "torch.device | None" = None) -> None:
        self._gallery, self._device = Gallery(gallery, metric), device

    @property
    def gallery_bytes(self) -> int:
        """What the search holds of the gallery in memory."""
        return self._gallery.vectors.nbytes

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors:
        """Return the k nearest gallery images of each query, other than itself and its group.

        queries: Q embeddings of the gallery's dimension. A negative sample id belongs to no gallery image.
        Returns ids and scores [Q, k], padded with -1 and -inf where the gallery has fewer than k others.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1; found {k}")
        self._require_searchable(queries)
        ids = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        width = k + self._gallery.largest_group
        # Merging candidates takes a few arrays of 8 bytes each, which for short vectors outweigh the query.
        for part in block_slices(len(queries), 4 * queries.vectors.shape[1] + 64 * width):
            vectors = prepared(queries.vectors[part], self._gallery.metric)
            places, found = self._nearest(vectors, width)
            own = self._gallery.groups[places] == queries.left_out[part, None]
            ids[part], scores[part] = without_own(self._gallery.ids[places], found, own, k)
        return Neighbors(ids, scores)

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray:
        """Return the 1-based rank, in the whole gallery, of the nearest other image with the query's label.

        beyond: the K of a search that found no positive for these queries. Scores are summed in another order than in
            faiss, so a positive that nearly ties with rank K may seem to be within K: its rank is then K + 1.
        Returns [Q], 0 if there is no positive (also for a query with label -1).
        One pass over a gallery of one block; over a larger one two, the best positive and then the images before it.
        """
        self._require_searchable(queries)
        ranks = np.zeros(len(queries), np.int64)
        for part in block_slices(len(queries), 4 * queries.vectors.shape[1]):
            vectors = prepared(queries.vectors[part], self._gallery.metric)
            ranks[part] = self._ranks(vectors, queries.left_out[part], queries.labels[part])
        return np.where(ranks > 0, np.maximum(ranks, beyond + 1), 0)

    def _nearest(self, vectors: FloatArray, width: int) -> tuple[IntArray, FloatArray]:
        """Return places and scores [Q, width] of the nearest in all blocks, the query itself included."""
        places = np.empty((len(vectors), 0), np.int64)
        scores = np.empty((len(vectors), 0), np.float32)
        for block_places, index in self._gallery.blocks():
            found, columns = self._search_block(vectors, index, min(width, index.ntotal))
            if scores.size:
                scores, places = np.hstack([scores, found]), np.hstack([places, block_places[columns]])
                unsorted = np.arange(len(vectors))
            else:  # a block returns its scores in order, and only ties must be put in the order of places
                scores, places = found, block_places[columns]
                unsorted = np.flatnonzero((scores[:, 1:] == scores[:, :-1]).any(axis=1))
            order = np.lexsort((places[unsorted], -scores[unsorted]), axis=-1)
            scores[unsorted] = np.take_along_axis(scores[unsorted], order, 1)
            places[unsorted] = np.take_along_axis(places[unsorted], order, 1)
            scores, places = scores[:, :width], places[:, :width]
        if (missing := width - places.shape[1]) > 0:
            places = np.pad(places, ((0, 0), (0, missing)), constant_values=len(self._gallery.ids) - 1)
            scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)
        return places, scores

    def _search_block(self, vectors: FloatArray, index: faiss.IndexFlat, k: int) -> tuple[FloatArray, IntArray]:
        """Return scores, descending, and columns [Q, k] of the nearest in one block."""
        if self._device is not None:
            from conspecific.index.device import nearest_on_device

            return nearest_on_device(vectors, stored_vectors(index), k, self._gallery.metric, self._device)
        found, columns = index.search(vectors, k)
        return (found if self._gallery.metric == "cosine" else 0 - found), columns

    def _ranks(self, vectors: FloatArray, groups: IntArray, labels: IntArray) -> IntArray:
        counted = FirstPositives(self._gallery, groups, labels)
        if self._gallery.is_whole:  # a tile then holds all images, and one pass finds the best and counts
            for tile in self._score_tiles(vectors):
                counted.find_best(*tile)
                counted.count_before(*tile)
        else:
            for tile in self._score_tiles(vectors):
                counted.find_best(*tile)
            for tile in self._score_tiles(vectors):
                counted.count_before(*tile)
        return counted.ranks()

    def _score_tiles(self, vectors: FloatArray) -> Iterator[tuple[slice, IntArray, FloatArray]]:
        """Yield rows of queries, places of the gallery and their scores [rows, places], until all pairs are scored."""
        for places, index in self._gallery.blocks():
            stored = stored_vectors(index)
            for rows in block_slices(len(vectors), 16 * len(places)):
                yield rows, places, score_matrix(vectors[rows], stored, self._gallery.metric)

    def _require_searchable(self, queries: EmbeddingSet) -> None:
        require_groups(queries, self._gallery.grouped)
        found, needed = queries.vectors.shape[1], self._gallery.vectors.shape[1]
        if found != needed:
            raise ValueError(f"queries have {found} dimensions and the gallery {needed}; they must be equal")
        if queries.vectors is not self._gallery.vectors:
            require_finite(queries, self._gallery.metric, "query")


def score_matrix(queries: FloatArray, gallery: FloatArray, metric: Similarity) -> FloatArray:
    """Return the scores [Q, N] of vectors as `prepared` returns them, higher is nearer.

    They are the terms that faiss adds up for a large batch, clamped at 0 as faiss does.
    """
    scores: FloatArray = queries @ gallery.T
    if metric == "l2":
        scores *= 2
        norms = np.einsum("qd,qd->q", queries, queries), np.einsum("nd,nd->n", gallery, gallery)
        scores -= norms[0][:, None] + norms[1]
        np.minimum(scores, 0, out=scores)
    return scores


def without_own(ids: IntArray, scores: FloatArray, own: NDArray[np.bool_], k: int) -> tuple[IntArray, FloatArray]:
    """Return the first k ids and scores [Q, k] of each query that are not its own; -1 and -inf where fewer remain.

    ids, scores: [Q, W], nearest first, W at least k. own: [Q, W], what is left out.
    """
    order = np.argsort(own, axis=1, kind="stable")[:, :k]
    kept = ~np.take_along_axis(own, order, 1)
    found = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
    return np.where(kept, found[0], -1), np.where(kept, found[1], np.float32(-np.inf))
