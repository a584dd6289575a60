"""Rows of activations, wherever they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conspecific.types import IntArray

Block = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """The activations of N images, spread over blocks in memory or on disk; they are read when they are asked for.

    blocks: arrays [n, ...] of one shape per row and one type. block, row: [N], where each image is.
    """

    blocks: Sequence[Block]
    block: IntArray
    row: IntArray

    def __len__(self) -> int:
        return len(self.block)

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, ...], as of an array."""
        return (len(self), *self.blocks[0].shape[1:])

    def select(self, places: IntArray) -> "Rows":
        """Return the rows at some places without reading them."""
        return Rows(self.blocks, self.block[places], self.row[places])

    def __getitem__(self, places: slice | IntArray) -> Block:
        """Return a copy of the rows at some places, [n, ...]."""
        block, row = self.block[places], self.row[places]
        found = np.empty((len(block), *self.blocks[0].shape[1:]), self.blocks[0].dtype)
        for number in np.unique(block):
            here = block == number
            found[here] = self.blocks[number][row[here]]
        return found
