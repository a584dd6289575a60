"""Small images for the pages, as data URIs."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from conspecific.errors import ConspecificError
from conspecific.montage import EMPTY, square

LARGEST, QUALITY = 192, 50  # pixels; WebP: 3.6 kB an image, as much as JPEG takes at 112 pixels and quality 80


@dataclass(frozen=True, slots=True)
class Side:
    """One of two images shown side by side. over: a small text above its name. alt: its alternative text."""

    path: str
    over: str
    name: str
    alt: str


class Thumbnails:
    """Opens every image once and keeps it at a small size: a page shows many of them several times."""

    def __init__(self, open_image: Callable[[str], Image.Image], largest: int = LARGEST) -> None:
        self._open = open_image
        self._largest = largest
        self._small: dict[str, Image.Image] = {}
        self._encoded: dict[str, str] = {}

    def image(self, path: str) -> Image.Image:
        """Return the image as a square of the largest side, or a gray tile where it cannot be opened."""
        if path not in self._small:
            try:
                self._small[path] = square(self._open(path), self._largest)
            except (OSError, ConspecificError):  # the report is written without images that were moved since
                self._small[path] = Image.new("RGB", (self._largest, self._largest), EMPTY)
        return self._small[path]

    def uri(self, path: str) -> str:
        """Return the image as a WebP data URI: of a size that can also be looked at alone, and still a small file."""
        if path not in self._encoded:
            buffer = io.BytesIO()
            self.image(path).save(buffer, "WEBP", quality=QUALITY)
            self._encoded[path] = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        return self._encoded[path]
