"""Perceptual hashes: 256 bits of an image, and of crops of it, that differ in few bits between near-duplicates."""

from functools import cache as cached
from itertools import product

import numpy as np
from numpy.typing import NDArray

from conspecific.types import FloatArray

SIDE = 64  # images become grey squares of this side
BITS = 256
STEP, MOST_CROPPED = 0.05, 0.15  # crops remove multiples of STEP of a side, up to MOST_CROPPED in all
CROPS_UP_TO = 20_000  # images; the search is quadratic, and 100 times slower with crops: 30 s for this many

HashArray = NDArray[np.uint8]
Interval = tuple[float, float]
"""Start and stop of what remains of a side, as shares of it."""


def perceptual_hashes(squares: FloatArray, crops: bool = True) -> HashArray:
    """Hash every crop of grey squares.

    A bit is the sign of one low frequency of the discrete cosine transform of the crop (after Zauner 2010, who compares
    with the median), so neither brightness nor contrast changes it. One matrix per side crops, resamples and
    transforms: all crops of 6,000 images take 1.5 s.

    Args:
        squares: [B, SIDE, SIDE] float32, grey levels 0 to 255.
        crops: whether to hash all 100 crops; otherwise only the whole image.

    Returns:
        [B, C, 32] uint8 with C = 100 or 1; crop 0 is the whole image, see `crop_box`.
    """
    vertical, horizontal = _frequencies()
    count = max(vertical.max(), horizontal.max()) + 1
    intervals = _intervals() if crops else _intervals()[:1]
    transform = np.concatenate([_cosines(start, stop, count) for start, stop in intervals])
    spectra = transform @ squares @ transform.T
    sides = len(intervals)
    grid = spectra.reshape(len(squares), sides, count, sides, count).transpose(0, 3, 1, 2, 4)
    bits = grid[..., vertical, horizontal] > 0
    return np.packbits(bits.reshape(len(squares), sides * sides, BITS), axis=-1)


def mirrored(hashes: HashArray) -> HashArray:
    """Return the hashes [..., 32] of the same images flipped left to right.

    Mirroring changes the sign of the cosines of odd horizontal frequency and of no others.
    """
    return hashes ^ np.packbits(_frequencies()[1] % 2 == 1)


def crop_box(crop: int) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a crop, as shares of the image's width and height.

    >>> crop_box(0)
    (0.0, 0.0, 1.0, 1.0)
    """
    (left, right), (top, bottom) = _crops()[crop]
    return left, top, right, bottom


def crops_of(images: int) -> int:
    """Return how many crops of each image are hashed in a data set of this many images: 100, or 1 in a large one."""
    return len(_crops()) if images <= CROPS_UP_TO else 1


@cached
def _intervals() -> tuple[Interval, ...]:
    """Every interval of a side that a crop may leave, the whole side first."""
    steps = round(MOST_CROPPED / STEP)
    removed = [(before, after) for before in range(steps + 1) for after in range(steps + 1 - before)]
    return tuple((before * STEP, 1 - after * STEP) for before, after in removed)


@cached
def _crops() -> tuple[tuple[Interval, Interval], ...]:
    """Every horizontal interval with every vertical one."""
    return tuple(product(_intervals(), _intervals()))


@cached
def _frequencies() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the vertical and the horizontal frequency of each bit: the lowest ones, without the mean brightness."""
    known = sorted(product(range(BITS), repeat=2), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    vertical, horizontal = np.array(known[1 : BITS + 1]).T
    return vertical, horizontal


def _cosines(start: float, stop: float, count: int) -> FloatArray:
    """Return the matrix [count, SIDE] that resamples an interval to SIDE / 2 points and takes their cosines."""
    points = (np.arange(SIDE // 2) + 0.5) / (SIDE // 2)
    places = (start + points * (stop - start)) * SIDE - 0.5
    width = max(1.0, 2 * (stop - start))
    resample = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(SIDE)) / width)
    resample /= resample.sum(axis=1, keepdims=True)
    matrix: FloatArray = (np.cos(np.pi * np.arange(count)[:, None] * points) @ resample).astype(np.float32)
    return matrix
