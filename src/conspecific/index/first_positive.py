"""The rank of the nearest positive in a whole gallery, counted from tiles of scores."""

import numpy as np

from conspecific.index.gallery import Gallery
from conspecific.types import FloatArray, IntArray


class FirstPositives:
    """Counts the images nearer than each query's nearest positive.

    Every tile of scores must pass `find_best` before any tile passes `count_before`; a tile that holds all images of a
    query may pass both at once. Memory beyond a tile is a few arrays of the size of its positives.

    own, labels: [Q] sample ids and labels of the queries; label -1 has no positive.
    """

    def __init__(self, gallery: Gallery, own: IntArray, labels: IntArray) -> None:
        self._labels, self._wanted = gallery.labels, labels
        order = np.argsort(gallery.ids)  # the first is -1, the id of no image
        found = order[np.minimum(np.searchsorted(gallery.ids, own, sorter=order), len(order) - 1)]
        self._own = np.where(gallery.ids[found] == own, found, -1)  # places; -1: not in the gallery
        self._block, self._order = np.empty(0, np.int64), np.empty(0, np.int64)
        self._best = np.full(len(own), -np.inf, np.float32)
        self._first = np.full(len(own), len(gallery.ids) - 1)
        self._before = np.zeros(len(own), np.int64)

    def find_best(self, rows: slice, places: IntArray, scores: FloatArray) -> None:
        """Keep the best positive of a tile where it is nearer than those before; of equals, the lower place is nearer.

        scores: [rows, places], places ascending.
        """
        row, column = self._positives(rows, places)
        found, where = scores[row, column], places[column]
        order = np.lexsort((where, -found, row))
        nearest = order[np.diff(row[order], prepend=-1) > 0]
        query = row[nearest] + rows.start
        found, where = found[nearest], where[nearest]
        better = (found > self._best[query]) | ((found == self._best[query]) & (where < self._first[query]))
        self._best[query[better]], self._first[query[better]] = found[better], where[better]

    def count_before(self, rows: slice, places: IntArray, scores: FloatArray) -> None:
        """Add the images of a tile that are nearer than the best positive. Overwrites the scores of positives."""
        # No positive precedes the best one; excluding all positives avoids effects of rounding.
        scores[self._positives(rows, places)] = -np.inf
        own = self._own[rows]
        column = np.minimum(np.searchsorted(places, own), len(places) - 1)
        row = np.flatnonzero(places[column] == own)
        scores[row, column[row]] = -np.inf
        for query, line in enumerate(scores, rows.start):
            tied = places[np.flatnonzero(line == self._best[query])]
            self._before[query] += np.count_nonzero(line > self._best[query])
            self._before[query] += np.count_nonzero(tied < self._first[query])

    def ranks(self) -> IntArray:
        """Return the 1-based ranks [Q], 0 where there is no positive."""
        return np.where(self._best > -np.inf, self._before + 1, 0)

    def _positives(self, rows: slice, places: IntArray) -> tuple[IntArray, IntArray]:
        """Return rows and columns of a tile at which an image has the query's label and is not the query."""
        wanted, labels = self._wanted[rows], self._labels[places]
        if places is not self._block:  # sorted once for all tiles of a block
            self._block, self._order = places, np.argsort(labels, kind="stable")
        start, stop = (np.searchsorted(labels, wanted, side, sorter=self._order) for side in ("left", "right"))
        count = np.where(wanted < 0, 0, stop - start)
        row = np.repeat(np.arange(len(wanted)), count)
        within = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
        column = self._order[np.repeat(start, count) + within]
        others = places[column] != self._own[rows][row]
        return row[others], column[others]
