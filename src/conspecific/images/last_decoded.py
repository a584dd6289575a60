"""The images that were decoded last, for several boxes of one image in succession."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock

from PIL import Image

KEPT_IMAGES = 64  # a thread may be that far behind the others
KEPT_PIXELS = 50_000_000  # of all kept images, 150 MB; the one decoded last is kept whatever its size


class LastDecoded:
    """Decodes each of the images that are asked for in succession once, whichever threads ask."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):  # a thread that holds the lock does not exist in the child
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Drop all images."""
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Future[Image.Image]] = OrderedDict()

    def get(self, key: Hashable, decode: Callable[[], Image.Image]) -> Image.Image:
        """Return an image, which must not be changed. Raises what `decode` raises, for each that asks at the time."""
        with self._lock:
            mine = key not in self._kept
            found = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
        if mine:
            self._decode(key, found, decode)
        return found.result()

    def _decode(self, key: Hashable, found: "Future[Image.Image]", decode: Callable[[], Image.Image]) -> None:
        try:
            found.set_result(decode())
        except BaseException as error:  # handed on to all that wait
            found.set_exception(error)
            with self._lock:
                self._kept.pop(key, None)
            return
        with self._lock:
            while len(self._kept) > 1 and (len(self._kept) > KEPT_IMAGES or self._pixels() > KEPT_PIXELS):
                self._kept.popitem(last=False)

    def _pixels(self) -> int:
        done = (each.result() for each in self._kept.values() if each.done() and each.exception() is None)
        return sum(image.width * image.height for image in done)
