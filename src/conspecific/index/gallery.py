"""A gallery in blocks that fit in memory, in a random order that does not depend on labels."""

from collections.abc import Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from conspecific.types import EmbeddingSet, FloatArray, IntArray, Similarity

BLOCK_BYTES = 256 * 2**20
ORDER_SEED = 0


def block_slices(count: int, row_bytes: int) -> list[slice]:
    """Return consecutive slices of `count` rows, each of at most BLOCK_BYTES but at least one row."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def prepared(vectors: FloatArray, metric: Similarity) -> FloatArray:
    """Return vectors as faiss takes them, [N, D] in C order: L2-normalised for cosine, a zero vector stays zero."""
    if metric == "l2":
        return np.ascontiguousarray(vectors)
    norms = np.sqrt(_squared_norms(vectors))
    norms[norms == 0] = 1
    return np.divide(vectors, norms[:, None], out=np.empty(vectors.shape, np.float32), casting="same_kind")


def require_finite(embeddings: EmbeddingSet, metric: Similarity, role: str) -> None:
    """Raise ValueError if a vector is not finite or, for l2, so long that a squared distance overflows float32."""
    longest = np.inf if metric == "cosine" else float(np.finfo(np.float32).max) / 4
    parts = block_slices(len(embeddings), 4 * embeddings.vectors.shape[1])
    usable = [_squared_norms(embeddings.vectors[part]) < longest for part in parts]
    broken = embeddings.ids[~np.concatenate([np.empty(0, np.bool_), *usable])]
    if broken.size:
        count = f"{broken.size} of {len(embeddings)} {role} embeddings"
        raise ValueError(f"{count} are not finite or overflow, first sample ids {broken[:5].tolist()}")


def largest_group(gallery: EmbeddingSet) -> int:
    """Return how many images of a gallery a query may have to leave out."""
    return 1 if gallery.groups is None else int(np.unique(gallery.groups, return_counts=True)[1].max())


def require_groups(queries: EmbeddingSet, grouped: bool) -> None:
    """Raise ValueError where either queries or gallery have groups, and the others do not."""
    if (queries.groups is not None) != grouped:
        with_groups = "the gallery" if grouped else "the queries"
        raise ValueError(f"only {with_groups} of a search have groups; both need them, or neither")


def random_order(count: int) -> IntArray:
    """Return the seeded random order [N] of the rows of a gallery: row by place."""
    return np.random.default_rng(ORDER_SEED).permutation(count)


class Gallery:
    """The gallery in a seeded random order; the *place* of an image is its position in that order.

    If scores tie, the lower place is nearer. With images sorted by species, ties would decide the metrics.
    A block holds consecutive rows, so that a memory-mapped file is read sequentially, ordered by place.

    ids, labels, groups: [N + 1] int64 by place; the last, place N, is -1: no image. groups: `EmbeddingSet.left_out`.
    """

    def __init__(self, embeddings: EmbeddingSet, metric: Similarity) -> None:
        if len(embeddings) == 0:
            raise ValueError("the gallery is empty; a search needs at least 1 image")
        if (negative := int((embeddings.ids < 0).sum())) > 0:
            raise ValueError(f"{negative} gallery sample ids are negative; -1 means no neighbour")
        require_finite(embeddings, metric, "gallery")
        self.metric, self.vectors = metric, embeddings.vectors
        self._row = random_order(len(embeddings))
        self._place = np.argsort(self._row)
        self.ids, self.labels = np.append(embeddings.ids[self._row], -1), np.append(embeddings.labels[self._row], -1)
        self.groups = np.append(embeddings.left_out[self._row], -1)
        self.grouped, self.largest_group = embeddings.groups is not None, largest_group(embeddings)
        parts = self._parts()
        self._kept = self._index(parts[0]) if len(parts) == 1 else None

    @property
    def is_whole(self) -> bool:
        """Whether one block holds the gallery."""
        return self._kept is not None

    def blocks(self) -> Iterator[tuple[IntArray, faiss.IndexFlat]]:
        """Yield each block's places, ascending, and its index, which numbers the vectors in that order."""
        if self._kept is not None:
            yield self._kept
        else:
            yield from map(self._index, self._parts())

    def _parts(self) -> list[slice]:
        return block_slices(len(self.vectors), 4 * self.vectors.shape[1])

    def _index(self, part: slice) -> tuple[IntArray, faiss.IndexFlat]:
        places = np.sort(self._place[part])
        flat = faiss.IndexFlatIP if self.metric == "cosine" else faiss.IndexFlatL2
        index = flat(self.vectors.shape[1])
        index.add(prepared(self.vectors[self._row[places]], self.metric))
        return places, index


def stored_vectors(index: faiss.IndexFlat) -> FloatArray:
    """Return the vectors of an index, [N, D], without a copy: valid while the index exists."""
    vectors: FloatArray = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return vectors


def _squared_norms(vectors: FloatArray) -> NDArray[np.float64]:
    """[N] in float64, where the square of no float32 overflows or vanishes."""
    norms: NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return norms
