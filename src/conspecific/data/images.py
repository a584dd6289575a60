"""Decoding: whatever kind of picture lies on disk becomes right-side-up RGB."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def open_rgb(path: Path, shorter_side: int | None = None) -> Image.Image:
    """Decode a picture to 8-bit RGB, turned as its EXIF orientation says.

    Transparent pictures are laid on white, 16-bit ones scaled to 8 bits, of animated ones the first frame is taken.
    With `shorter_side`, a JPEG may be decoded at 1/2, 1/4 or 1/8 size as long as at least twice that side remains,
    which makes camera-sized photographs several times cheaper and leaves small ones untouched.

    Raises OSError when it cannot be read.
    """
    try:
        # Pillow 13 garbles a turned TIFF that it maps into memory, which it does with a path and not with a stream.
        with path.open("rb") as stream, Image.open(stream) as picture:
            if shorter_side is not None:
                scale = 2 * shorter_side / min(picture.size)
                picture.draft("RGB", (round(picture.width * scale), round(picture.height * scale)))
            return to_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise OSError("not a picture") from error
    except (SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error  # Pillow's plugins do not agree on what a broken file is


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB without losing range or showing what transparency hid."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    return picture.convert("RGB")


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Scale grey values to 8 bits, from the smallest usual range that holds them (to 1, 255 or 65535) or their own."""
    grey = np.where(np.isfinite(values), values, 0).astype(np.float64)
    low, high = float(grey.min()), float(grey.max())
    usual = [65535] if values.dtype.itemsize == 2 else [255, 65535] if values.dtype.kind == "i" else [1, 255, 65535]
    fitting = [top for top in usual if low >= 0 and high <= top]
    if fitting:
        low, high = 0, fitting[0]
    scaled: np.ndarray = (grey - low) / (high - low if high > low else 1) * 255
    return scaled.round().astype(np.uint8)
