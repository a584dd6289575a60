"""What a request is refused with: a status and a sentence for the person who sent it."""

from collections.abc import Iterator
from contextlib import contextmanager

SEARCHES_BUSY = "All {count} searches that may run at once are under way. Try again in a few seconds."
UPLOADS_BUSY = "All {count} images that may be sent at once are being received. Try again in a few seconds."


class Refusal(Exception):
    """A request that is not answered. status: of HTTP. sentence: what was found, what is needed, what to do."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Slots:
    """How many of something may be under way at once; only the event loop takes and returns them.

    busy: the sentence for who finds none free.
    """

    def __init__(self, count: int, busy: str = SEARCHES_BUSY) -> None:
        self._count = self._free = count
        self._busy = busy

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a slot for the block. Raises Refusal (503) where none is free."""
        if self._free == 0:
            raise Refusal(503, self._busy.format(count=self._count))
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
