"""Local descriptors of images, computed when they are asked for and kept for a while."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from conspecific.models.encode import decoded
from conspecific.types import FloatArray

BATCH = 32


class LocalDescriptors(Protocol):
    """A kind of local descriptors. name: for people. side: of the square images they are computed from, in pixels."""

    @property
    def name(self) -> str: ...

    @property
    def side(self) -> int: ...

    def describe(self, images: Tensor) -> Sequence[Any]:
        """Return the descriptors of each of B images, uint8 [B, 3, side, side]."""

    def match(self, query: Any, others: Sequence[Any]) -> FloatArray:
        """Return how well the descriptors of a query match those of each of N other images, [N]: 0 for not at all."""

    def bytes_of(self, described: Any) -> int:
        """Return what the descriptors of one image take in memory."""


class Described:
    """The descriptors of images, by sample id; not safe for threads.

    read: an image by its sample id, uint8 [3, side, side]. workers: threads that read. most: how many images are kept,
    those of the last calls; None keeps all.
    """

    def __init__(
        self, kind: LocalDescriptors, read: Callable[[int], Tensor], workers: int, most: int | None = None
    ) -> None:
        self.kind, self._read, self._workers, self._most = kind, read, workers, most
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self.seconds, self.computed = 0.0, 0

    def hold(self, sample_id: int, described: Any) -> None:
        """Take the descriptors of an image, in place of those that were kept of it."""
        self._kept[sample_id] = described
        self._kept.move_to_end(sample_id)

    def of(self, ids: Sequence[int]) -> list[Any]:
        """Return the descriptors of images; those that are not kept are computed."""
        missing = [each for each in dict.fromkeys(ids) if each not in self._kept]
        began, done = time.perf_counter(), 0
        for images in decoded(missing, self._read, BATCH, self._workers):
            for described in self.kind.describe(images):
                self.hold(missing[done], described)
                done += 1
        self.seconds, self.computed = self.seconds + time.perf_counter() - began, self.computed + done
        found = [self._kept[each] for each in ids]
        for each in ids:
            self._kept.move_to_end(each)
        while self._most is not None and len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    @property
    def bytes_per_image(self) -> int:
        """The mean size of the descriptors that are kept, 0 where there are none."""
        sizes = [self.kind.bytes_of(each) for each in self._kept.values()]
        return round(sum(sizes) / len(sizes)) if sizes else 0
