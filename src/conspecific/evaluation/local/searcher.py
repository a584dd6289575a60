"""A search whose first answers are ordered anew by local descriptors that match."""

import time

import numpy as np

from conspecific.evaluation.local.described import Described
from conspecific.evaluation.local.fusion import Fusion
from conspecific.index import GallerySearcher
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors


class LocalSearcher:
    """Searches by embeddings, and orders the first answers anew by their scores and how well local descriptors match.

    described: of queries and gallery, by sample id. first: number of answers. fusion: None: those of the plain search.
    seconds: that matching has taken, of `matched` queries.
    """

    def __init__(
        self, gallery: EmbeddingSet, plain: GallerySearcher, described: Described, first: int, fusion: Fusion | None
    ) -> None:
        self._plain, self.described, self.fusion = plain, described, fusion
        self.first, self.seconds, self.matched = min(first, len(gallery)), 0.0, 0
        self._label_of = np.full(int(gallery.ids.max()) + 2, -1)  # the last is of -1: no image
        self._label_of[gallery.ids] = gallery.labels
        self._known: dict[int, tuple[bytes, FloatArray]] = {}

    @property
    def gallery_bytes(self) -> int:
        """What the search holds of the gallery in memory."""
        return self._plain.gallery_bytes

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors:
        """Return the k nearest images of each query; those after the first keep the order of the plain search."""
        found = self._plain.search(queries, max(k, self.first))
        if self.fusion is None:
            return Neighbors(found.ids[:, :k], found.scores[:, :k])
        ids, scores = found.ids.copy(), found.scores.copy()
        head = slice(0, self.first)
        fused = self.fusion(np.maximum(scores[:, head], -1e9), self.match(queries.ids, ids[:, head]))
        fused[ids[:, head] < 0] = -np.inf
        order = np.argsort(-fused, axis=1, kind="stable")
        ids[:, head] = np.take_along_axis(ids[:, head], order, axis=1)
        lowest = np.where(np.isfinite(fused), fused, np.inf).min(axis=1, keepdims=True)
        lowest[~np.isfinite(lowest)] = 0  # a query without answers
        scores[:, self.first :] += lowest - found.scores[:, self.first - 1 : self.first]
        scores[:, head] = np.take_along_axis(fused, order, axis=1)
        return Neighbors(ids[:, :k], scores[:, :k])

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray:
        """Return the 1-based rank of the nearest other image with the query's label; see `Searcher`."""
        ids = self.search(queries, self.first).ids
        right = (self._label_of[ids] == queries.labels[:, None]) & (ids >= 0)
        ranks = np.where(right.any(axis=1), np.maximum(right.argmax(axis=1) + 1, beyond + 1), 0)
        later = np.flatnonzero(ranks == 0)
        if later.size:
            rest = queries.select(queries.ids[later])
            ranks[later] = self._plain.rank_of_first_positive(rest, max(beyond, self.first))
        return ranks

    def match(self, asked: IntArray, ids: IntArray) -> FloatArray:
        """Return how well each query matches its answers, [Q, N]; 0 for id -1.

        What an image of the gallery matches is kept; negative ids are of others, a new one each time.
        """
        found = np.zeros(ids.shape, np.float32)
        for row, (query, others) in enumerate(zip(asked.tolist(), ids, strict=True)):
            key, known = others.tobytes(), self._known.get(query)
            if known is not None and known[0] == key:
                found[row] = known[1]
                continue
            there = others >= 0
            if there.any():
                own, *candidates = self.described.of([query, *others[there].tolist()])
                began = time.perf_counter()
                found[row, there] = self.described.kind.match(own, candidates)
                self.seconds, self.matched = self.seconds + time.perf_counter() - began, self.matched + 1
            if query >= 0:
                self._known[query] = key, found[row]
        return found
