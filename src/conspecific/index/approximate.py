"""Search by a structure that answers faster or takes less memory than a scan, with exact scores."""

from functools import cached_property
from typing import Any

import faiss
import numpy as np

from conspecific.index.gallery import (
    block_slices,
    largest_group,
    prepared,
    random_order,
    require_finite,
    require_groups,
)
from conspecific.index.kinds import SHORTLIST, Kind, build
from conspecific.index.searcher import Searcher, without_own
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors, Similarity


class ApproximateSearcher:
    """Searches like `Searcher`, by a faiss structure of some kind.

    The structure proposes candidates, SHORTLIST of them for an answer where it holds codes in place of vectors. They
    are scored with the vectors of the gallery: scores are those of an exact search whatever the kind, and a threshold
    on them means the same. Only which images are found may differ.

    gallery: as for `Searcher`. structure: of an earlier searcher over the same gallery; None builds it.
    """

    def __init__(self, gallery: EmbeddingSet, metric: Similarity, kind: Kind, structure: Any = None) -> None:
        require_finite(gallery, metric, "gallery")
        self.gallery, self.metric, self.kind = gallery, metric, kind
        self._order = np.argsort(gallery.ids)
        self._place = np.argsort(random_order(len(gallery)))
        self.structure = self._built() if structure is None else structure

    @property
    def gallery_bytes(self) -> int:
        """What the structure takes when it is written, which is about what it takes in memory."""
        return int(faiss.serialize_index(self.structure).nbytes)

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors:
        """Return the k nearest gallery images that were found of each query, other than itself; see `Searcher.search`.

        Padded with -1 and -inf where fewer were found, which may happen in a gallery of more than k others.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1; found {k}")
        given, needed = queries.vectors.shape[1], self.gallery.vectors.shape[1]
        if given != needed:
            raise ValueError(f"queries have {given} dimensions and the gallery {needed}; they must be equal")
        require_groups(queries, self.gallery.groups is not None)
        require_finite(queries, self.metric, "query")
        most = k + largest_group(self.gallery)
        candidates = min(len(self.gallery), SHORTLIST.get(self.kind, 1) * most)
        width = max(candidates, most)
        ids, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        for part in block_slices(len(queries), 4 * needed * width):
            vectors = prepared(queries.vectors[part], self.metric)
            near = np.full((len(vectors), width), -1)
            near[:, :candidates] = self.structure.search(vectors, candidates)[1]
            found, found_scores, groups = self._ordered(vectors, near)
            own = groups == queries.left_out[part, None]
            ids[part], scores[part] = without_own(found, found_scores, own, k)
        return Neighbors(ids, scores)

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray:
        """Return the ranks in an exact search; see `Searcher.rank_of_first_positive`."""
        return self._exact.rank_of_first_positive(queries, beyond)

    def add(self, vectors: FloatArray, ids: IntArray) -> None:
        """Add vectors [N, D] to the structure."""
        for part in block_slices(len(ids), 4 * vectors.shape[1]):
            self.structure.add_with_ids(prepared(vectors[part], self.metric), ids[part])

    @cached_property
    def _exact(self) -> Searcher:
        return Searcher(self.gallery, self.metric)

    def _built(self) -> Any:
        vectors = self.gallery.vectors
        self.structure = build(self.kind, prepared(vectors, self.metric), self.metric)
        self.add(vectors, self.gallery.ids)
        return self.structure

    def _ordered(self, queries: FloatArray, near: IntArray) -> tuple[IntArray, FloatArray, IntArray]:
        """Return candidates [Q, W], their exact scores and groups, the nearest first, ties as in `Gallery`; -1 last."""
        ids = self.gallery.ids
        rows = self._order[np.minimum(np.searchsorted(ids, near, sorter=self._order), len(ids) - 1)]
        vectors = prepared(self.gallery.vectors[rows.ravel()], self.metric).reshape(*rows.shape, -1)
        if self.metric == "cosine":
            scores = np.einsum("qd,qwd->qw", queries, vectors)
        else:
            scores = -np.square(queries[:, None] - vectors).sum(axis=2)
        scores = np.where(near < 0, -np.inf, scores).astype(np.float32)
        order = np.lexsort((self._place[rows], -scores), axis=-1)
        groups = np.where(near < 0, -1, self.gallery.left_out[rows])
        found, scores, groups = (np.take_along_axis(each, order, 1) for each in (near, scores, groups))
        return found, scores, groups


AnySearcher = Searcher | ApproximateSearcher


def make_searcher(gallery: EmbeddingSet, metric: Similarity, kind: Kind) -> AnySearcher:
    """Return a searcher of a kind, built over the gallery."""
    return Searcher(gallery, metric) if kind == "exact" else ApproximateSearcher(gallery, metric, kind)
