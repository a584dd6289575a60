"""The rank of the nearest positive in a whole gallery, counted from tiles of scores."""

import numpy as np

from conspecific.index.gallery import Gallery
from conspecific.types import FloatArray, IntArray


class FirstPositives:
    """Counts the images nearer than each query's nearest positive, those of its own group left out.

    Every tile of scores must pass `find_best` before any tile passes `count_before`; a tile that holds all images of a
    query may pass both at once. Memory beyond a tile is a few arrays of the size of its positives.

    groups, labels: [Q] groups (`EmbeddingSet.left_out`) and labels of the queries; label -1 has no positive.
    """

    def __init__(self, gallery: Gallery, groups: IntArray, labels: IntArray) -> None:
        self._labels, self._wanted = gallery.labels, labels
        self._groups, self._own = gallery.groups, groups
        self._block = np.empty(0, np.int64)
        self._by_label, self._by_group = self._block, self._block
        self._best = np.full(len(labels), -np.inf, np.float32)
        self._first = np.full(len(labels), len(gallery.ids) - 1)
        self._before = np.zeros(len(labels), np.int64)

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
        scores[_equal(self._own[rows], self._groups[places], self._by_group)] = -np.inf
        for query, line in enumerate(scores, rows.start):
            tied = places[np.flatnonzero(line == self._best[query])]
            self._before[query] += np.count_nonzero(line > self._best[query])
            self._before[query] += np.count_nonzero(tied < self._first[query])

    def ranks(self) -> IntArray:
        """Return the 1-based ranks [Q], 0 where there is no positive."""
        return np.where(self._best > -np.inf, self._before + 1, 0)

    def _positives(self, rows: slice, places: IntArray) -> tuple[IntArray, IntArray]:
        """Return rows and columns of a tile at which an image has the query's label and is not of its group."""
        if places is not self._block:  # sorted once for all tiles of a block
            self._block = places
            self._by_label, self._by_group = (
                np.argsort(values[places], kind="stable") for values in (self._labels, self._groups)
            )
        row, column = _equal(self._wanted[rows], self._labels[places], self._by_label)
        others = self._groups[places][column] != self._own[rows][row]
        return row[others], column[others]


def _equal(wanted: IntArray, values: IntArray, order: IntArray) -> tuple[IntArray, IntArray]:
    """Return the rows and columns of all pairs of equal numbers that are not negative.

    wanted: [rows]. values: [columns]. order: what sorts them.
    """
    start, stop = (np.searchsorted(values, wanted, side, sorter=order) for side in ("left", "right"))
    count = np.where(wanted < 0, 0, stop - start)
    row = np.repeat(np.arange(len(wanted)), count)
    within = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
    return row, order[np.repeat(start, count) + within]
