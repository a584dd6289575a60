"""Decoding: whatever kind of picture lies on disk becomes right-side-up RGB."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def open_rgb(path: Path, shorter_side: int | None = None) -> Image.Image:
    """Decode a picture to 8-bit RGB, turned as its EXIF orientation says.

    Transparent pictures are laid on white, 16-bit ones scaled to 8 bits, of animated ones the first frame is taken.
    With `shorter_side`, a JPEG may be decoded at 1/2, 1/4 or 1/8 size as long as at least twice that side remains,
    which makes camera-sized photographs several times cheaper and leaves small ones untouched.

    Raises OSError (PIL.UnidentifiedImageError among them) or Image.DecompressionBombError when it cannot be read.
    """
    with Image.open(path) as picture:
        if shorter_side is not None:
            scale = 2 * shorter_side / min(picture.size)
            picture.draft("RGB", (round(picture.width * scale), round(picture.height * scale)))
        return to_rgb(ImageOps.exif_transpose(picture))


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB without losing range or showing what transparency hid."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(picture))).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    return picture.convert("RGB")


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit (or wider) grey values to 8 bits: by the type's range where it is 16 bits, else by their own."""
    wide = values.astype(np.float64)
    if values.dtype.itemsize == 2 or (wide.min() >= 0 and 255 < wide.max() <= 65535):
        wide = wide / 257.0
    elif wide.min() < 0 or wide.max() > 255:
        span = wide.max() - wide.min()
        wide = (wide - wide.min()) / (span if span > 0 else 1.0) * 255.0
    return np.clip(np.round(wide), 0, 255).astype(np.uint8)
