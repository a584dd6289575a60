"""Decoding: whatever kind of image lies on disk becomes right-side-up RGB."""

import importlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

with suppress(ImportError):  # HEIC needs the extra `heic`; other formats are Pillow's own
    importlib.import_module("pillow_heif").register_heif_opener()


def open_rgb(path: Path, shorter_side: int | None = None) -> Image.Image:
    """Decode an image to 8-bit RGB, turned as its EXIF orientation says.

    Transparent images are laid on white, 16-bit ones scaled to 8 bits, of animated ones the first frame is taken.
    With `shorter_side`, a JPEG may be decoded at 1/2, 1/4 or 1/8 size as long as at least twice that side remains,
    which makes camera-sized photographs several times cheaper and leaves small ones untouched.

    Raises OSError when it cannot be read.
    """
    try:
        # Pillow 13 garbles a turned TIFF that it maps into memory, which it does with a path and not with a stream.
        with path.open("rb") as stream, Image.open(stream) as image:
            if shorter_side is not None:
                scale = 2 * shorter_side / min(image.size)
                image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
            return to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise OSError("not an image") from error
    except (SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error  # Pillow's plugins do not agree on what a broken file is


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB without losing range or showing what transparency hid."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image.convert("RGB")


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


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and cut the centre square out."""
    scale = size / min(image.size)
    width, height = max(size, round(image.width * scale)), max(size, round(image.height * scale))
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def image_tensor(path: Path, size: int) -> Tensor:
    """Read one image from anywhere as evaluation reads it: uint8 [3, size, size]."""
    return to_tensor(center_crop(open_rgb(path, size), size))


def workers_for(asked: int | None) -> int:
    """How many decoders to run: as asked, or one a core and eight at most."""
    return min(os.cpu_count() or 1, 8) if asked is None else asked
