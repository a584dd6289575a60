"""Random streams, cached noise tiles and the few array helpers for all drawing steps."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]
TILE = 512


def stream(*key: int | str) -> np.random.Generator:
    """Return a random generator that depends only on `key` (non-negative integers and words)."""
    return np.random.default_rng([zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key])


def colour(text: str) -> Floats:
    """The colour `rrggbb` as [3] floats, 0..1."""
    return np.asarray(np.frombuffer(bytes.fromhex(text), np.uint8) / 255, np.float32)


def blend(first: Reals, second: Reals, share: float | Reals) -> Floats:
    """`first` where `share` is 0 and `second` where it is 1, broadcast."""
    return np.asarray(first + (second - first) * share, np.float32)


def ramp(inside: Reals, width: float | Reals) -> Floats:
    """0..1 coverage of a shape whose inside is where `inside` > 0, its edge `width` wide."""
    return np.asarray(np.clip(inside / width + 0.5, 0, 1), np.float32)


def ease(value: Reals, low: float, high: float) -> Floats:
    """A smooth step from 0 at `low` to 1 at `high`."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


@lru_cache(maxsize=8)
def cloud_tile(roughness: float = 1.6) -> Floats:
    """[TILE, TILE] noise that wraps around, mean 0 and standard deviation 1; power falls as frequency^-2·roughness."""
    source = stream("clouds", round(roughness * 100))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(TILE), np.fft.rfftfreq(TILE), indexing="ij"))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(source.standard_normal((TILE, TILE))) / frequency**roughness
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return np.asarray(field / field.std(), np.float32)


@lru_cache(maxsize=1)
def pebble_tiles() -> tuple[Floats, Floats, Floats]:
    """Three [TILE, TILE] fields of a wrapping pebble layout, the first two in pebble sizes.

    How far inside its pebble a point lies from the joint to the next one, how far from its centre, and its tone, 0..1.
    """
    source, cells = stream("pebbles"), 24
    centre = source.uniform(0.05, 0.95, (cells, cells, 2))
    tone = source.random((cells, cells))
    rows, columns = np.meshgrid(np.arange(TILE), np.arange(TILE), indexing="ij")
    row, column = rows * cells / TILE, columns * cells / TILE
    nearest, second, shade = np.full((TILE, TILE), 9.0), np.full((TILE, TILE), 9.0), np.zeros((TILE, TILE))
    for step in np.ndindex(5, 5):
        at_row, at_column = row.astype(int) + step[0] - 2, column.astype(int) + step[1] - 2
        place = centre[at_row % cells, at_column % cells]
        distance = np.hypot(at_row + place[..., 0] - row, at_column + place[..., 1] - column)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        shade = np.where(closer, tone[at_row % cells, at_column % cells], shade)
        nearest = np.minimum(nearest, distance)
    joint = np.asarray(second - nearest, np.float32)
    return joint, np.asarray(nearest, np.float32), np.asarray(shade, np.float32)


def excerpt(tile: Floats, source: np.random.Generator, size: int, share: float, stretch: float = 1.0) -> Floats:
    """Return a random crop [size, size] of a tile: `share` of its width, `share` times `stretch` of its height."""
    height, width = TILE * share * stretch, TILE * share
    left, top = source.uniform(0, TILE - width), source.uniform(0, TILE - height)
    image = Image.fromarray(tile).resize(
        (size, size), Image.Resampling.BICUBIC, (left, top, left + width, top + height)
    )
    return np.asarray(image, np.float32)


def at_points(tile: Floats, row: Reals, column: Reals) -> Floats:
    """Read a wrapping tile at rows and columns (in tile pixels), nearest neighbour."""
    return np.asarray(tile[row.astype(np.intp) % TILE, column.astype(np.intp) % TILE], np.float32)


def shifted(image: Floats, rows: float, columns: float) -> Floats:
    """Move an image down and right by whole pixels, with its border repeated."""
    height, width = image.shape[:2]
    row, column = np.arange(height) - round(rows), np.arange(width) - round(columns)
    return image[np.clip(row, 0, height - 1)[:, None], np.clip(column, 0, width - 1)[None, :]]


def to_image(image: Reals) -> Image.Image:
    """[height, width, 3] or [height, width] floats, 0..1, as an 8-bit image."""
    return Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))


def from_image(image: Image.Image) -> Floats:
    """An 8-bit image as floats, 0..1."""
    return np.asarray(image, np.float32) * np.float32(1 / 255)


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """Blur an image with a Gaussian of `radius` pixels; below a third of a pixel it is unchanged."""
    if radius <= 0.33:
        return image
    # A wide Gaussian leaves only low frequencies, so it is applied to a smaller image, which is faster.
    factor = max(1, min(4, int(radius / 1.6)))
    small = image.reduce(factor) if factor > 1 else image
    small = small.filter(ImageFilter.GaussianBlur(float(radius) / factor))
    return small.resize(image.size, Image.Resampling.BICUBIC) if factor > 1 else small
