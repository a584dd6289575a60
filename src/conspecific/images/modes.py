"""8-bit RGB of images of any Pillow mode."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_PIXELS = 4_000_000  # of a large image that are converted at a time


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to 8-bit RGB: the full range is kept, and transparent pixels become white.

    An image that is RGB already is returned itself. A large one is converted in strips, so that little more memory is
    taken than the image and the result have.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    bounds = _usual_bounds(image) if _is_numeric(image) else None
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return _strip_to_rgb(image, bounds)
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image, rows):
        result.paste(_strip_to_rgb(strip, bounds), (0, top))
    return result


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield the parts of an image from top to bottom, each with the number of its first row."""
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _strip_to_rgb(image: Image.Image, bounds: tuple[float, float] | None) -> Image.Image:
    """Convert to RGB. bounds: the grey values of a numeric mode that become 0 and 255."""
    if bounds is not None:
        low, high = bounds
        scaled = (_finite(image) - low) / (high - low if high > low else 1) * 255
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image.convert("RGB")


def _is_numeric(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _usual_bounds(image: Image.Image) -> tuple[float, float]:
    """Return the smallest usual range of grey values that holds an image's (to 1, 255 or 65535), or their own."""
    rows = max(1, STRIP_PIXELS // image.width)
    extremes = [(values.min(), values.max()) for _, strip in _strips(image, rows) for values in [_finite(strip)]]
    low, high = float(min(least for least, _ in extremes)), float(max(most for _, most in extremes))
    kind = np.asarray(image.crop((0, 0, 1, 1))).dtype
    usual = [65535] if kind.itemsize == 2 else [255, 65535] if kind.kind == "i" else [1, 255, 65535]
    fitting = [top for top in usual if low >= 0 and high <= top]
    return (0, fitting[0]) if fitting else (low, high)


def _finite(image: Image.Image) -> NDArray[np.float64]:
    """Return the values of a numeric mode, 0 where one is NaN or infinite."""
    values = np.asarray(image)
    return np.where(np.isfinite(values), values, 0).astype(np.float64)
