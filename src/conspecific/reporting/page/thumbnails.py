"""Images for the page: opened once, small, and as text that an HTML file can hold."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from conspecific.errors import ConspecificError
from conspecific.reporting.page.montage import EMPTY, square


@dataclass(frozen=True, slots=True)
class Side:
    """One of two images shown beside each other. over: the small words above its name. alt: what stands in for it."""

    path: str
    over: str
    name: str
    alt: str


class Thumbnails:
    """Opens images by path and keeps them small; a page shows many of them several times."""

    def __init__(self, open_image: Callable[[str], Image.Image], largest: int = 160) -> None:
        self._open = open_image
        self._largest = largest
        self._small: dict[str, Image.Image] = {}
        self._encoded: dict[tuple[str, int], str] = {}

    def image(self, path: str) -> Image.Image:
        """Return the image as a square of the largest side; a plain tile where it can no longer be opened."""
        if path not in self._small:
            try:
                self._small[path] = square(self._open(path), self._largest)
            except (OSError, ConspecificError):  # an image moved since it was embedded must not cost the report
                self._small[path] = Image.new("RGB", (self._largest, self._largest), EMPTY)
        return self._small[path]

    def uri(self, path: str, side: int) -> str:
        """Return the image as a JPEG data URI with this many pixels a side."""
        key = (path, side)
        if key not in self._encoded:
            buffer = io.BytesIO()
            square(self.image(path), side).save(buffer, "JPEG", quality=80, optimize=True)
            self._encoded[key] = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        return self._encoded[key]
