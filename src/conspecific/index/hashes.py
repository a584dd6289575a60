"""Hashes that differ in few bits."""

from collections.abc import Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from conspecific.types import IntArray

GALLERY_BLOCK = 1 << 16  # hashes indexed at once
PAIRS = 1 << 23  # compared at once; all of them may be near, which takes 100 MB and, while it is sorted, 600

Hits = tuple[IntArray, IntArray, IntArray]


def near_hashes(
    queries: NDArray[np.uint8],
    gallery: NDArray[np.uint8],
    radius: int,
    *,
    group: int = 1,
    limit: int | None = None,
) -> Hits:
    """Return query rows, gallery rows and distances of all pairs that differ in `radius` bits or fewer.

    queries: [Q, B] uint8. gallery: [G, B] uint8. group: that many gallery rows in succession are views of one thing, of
    which only the nearest is returned, the first of equals. limit: only so many of a query's nearest things are kept.
    Sorted by query row, then distance, then gallery row.

    Every pair is compared: the time grows with Q x G. 12,000 queries in 590,000 hashes of 256 bits take three seconds
    on two cores. Memory beyond the arguments is bounded by 1 GB and, with a limit, Q x limit pairs a block of
    65,536 gallery rows.

    >>> rows, columns, distances = near_hashes(np.uint8([[0], [255]]), np.uint8([[1], [127], [8]]), radius=1)
    >>> rows.tolist(), columns.tolist(), distances.tolist()
    ([0, 0, 1], [0, 2, 1], [1, 1, 1])
    """
    if queries.dtype != np.uint8 or gallery.dtype != np.uint8:
        raise ValueError(f"hashes must be uint8; found {queries.dtype} and {gallery.dtype}")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"hashes must be [Q, B] and [G, B]; found {queries.shape} and {gallery.shape}")
    if group < 1 or len(gallery) % group:
        raise ValueError(f"{len(gallery)} gallery hashes are not groups of {group}")
    if radius < 0 or not len(queries) or not len(gallery):
        return _nothing()
    found = [_nearest(hits, group, limit) for hits in _all_hits(queries, gallery, radius, group)]
    rows, columns, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _nearest((rows, columns, distances), group, limit)


def _nothing() -> Hits:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)


def _all_hits(queries: NDArray[np.uint8], gallery: NDArray[np.uint8], radius: int, group: int) -> Iterator[Hits]:
    """Yield the hits of blocks of queries in blocks of the gallery, which do not cut groups in two."""
    width = max(1, GALLERY_BLOCK // group) * group
    height = max(1, PAIRS // width)
    for left in range(0, len(gallery), width):
        index = faiss.IndexBinaryFlat(8 * gallery.shape[1])
        index.add(np.ascontiguousarray(gallery[left : left + width]))
        for top in range(0, len(queries), height):
            block = np.ascontiguousarray(queries[top : top + height])
            # faiss means nearer than the radius, we mean as near or nearer
            ends, distances, columns = index.range_search(block, radius + 1)
            rows = np.repeat(np.arange(top, top + len(block)), (ends[1:] - ends[:-1]).astype(np.int64))
            yield rows, columns.astype(np.int64) + left, distances.astype(np.int64)


def _nearest(hits: Hits, group: int, limit: int | None) -> Hits:
    """The nearest row of each group, and of these each query's nearest `limit`."""
    rows, columns, distances = hits
    things = columns // group
    order = np.lexsort((columns, distances, things, rows))
    rows, columns, distances, things = rows[order], columns[order], distances[order], things[order]
    kept = np.ones(len(rows), np.bool_)
    kept[1:] = (rows[1:] != rows[:-1]) | (things[1:] != things[:-1])
    rows, columns, distances = rows[kept], columns[kept], distances[kept]
    order = np.lexsort((columns, distances, rows))
    rows, columns, distances = rows[order], columns[order], distances[order]
    if limit is not None:
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        rows, columns, distances = rows[place < limit], columns[place < limit], distances[place < limit]
    return rows, columns, distances
