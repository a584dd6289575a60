"""What two images are compared by before any network sees them: their bytes, and how they look from afar."""

import hashlib
import os
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as remembered
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from conspecific.data.manifest import Manifest
from conspecific.images import open_rgb
from conspecific.progress import progress_bar
from conspecific.types import FloatArray

VERSION = 1  # raise it when a change of code changes hashes, so that those kept from before are made anew
SIDE = 64  # images become grey squares of this side
BITS = 256
STEP, MOST_CUT = 0.05, 0.15  # crops are looked for on a grid of shares of the side, up to this much of it in all
LEAST_CONTRAST = 4.0  # standard deviation in grey levels, below which an image shows nothing to hash
CROPS_UP_TO = 20_000  # images; the search grows with their square, with crops a hundred times as fast: 30 s for these
BLOCK = 256  # images hashed at once, about 40 MB of numbers

HashArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What N images are recognised by, row for row of the manifest.

    contents: BLAKE2b of each file's bytes, 128 bits in hex.
    hashes: uint8 [N, V, 32], the perceptual hash of each image's V views, the first of the whole; see `view_box`. Of
        more than CROPS_UP_TO images there is no other view.
    blank: [N] True where the image has too little contrast for its hashes to say anything.
    """

    contents: tuple[str, ...]
    hashes: HashArray
    blank: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.contents)
        assert self.hashes.shape == (count, _views_of(count), BITS // 8) and self.hashes.dtype == np.uint8
        assert self.blank.shape == (count,) and self.blank.dtype == np.bool_

    @property
    def has_crops(self) -> bool:
        """Whether cut copies can be found too."""
        return int(self.hashes.shape[1]) > 1


def fingerprints(manifest: Manifest, key: str, cache: Path, workers: int, console: Console) -> Fingerprints:
    """Return the fingerprints of every image, from `cache` where it has them.

    key: the manifest's fingerprint, see `data.check.check_manifest`. workers: decoding threads.
    Each file is read and decoded once. Memory: 3.2 kB an image, 32 bytes without crops.
    Raises OSError for an image that cannot be read.
    """
    file = cache / "fingerprints" / f"{key}-{VERSION}.npz"
    kept = _load(file, len(manifest))
    if kept is not None:
        return kept
    contents: list[str] = []
    hashes = np.empty((len(manifest), _views_of(len(manifest)), BITS // 8), np.uint8)
    blank = np.empty(len(manifest), np.bool_)
    # warnings are caught here, because the filters are not the threads' own
    with warnings.catch_warnings(), progress_bar(console) as progress:
        warnings.simplefilter("ignore")
        task = progress.add_task("Looking for copies", total=len(manifest))
        for names, squares in _read(manifest, workers):
            rows = slice(len(contents), len(contents) + len(names))
            hashes[rows] = perceptual_hashes(squares, crops=hashes.shape[1] > 1)
            blank[rows] = squares.std(axis=(1, 2)) < LEAST_CONTRAST
            contents += names
            progress.update(task, completed=len(contents))
    found = Fingerprints(tuple(contents), hashes, blank)
    _save(file, found)
    return found


def view_box(view: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a view, as shares of the image's width and height.

    >>> view_box(0)
    (0.0, 0.0, 1.0, 1.0)
    """
    (left, right), (top, bottom) = _views()[view]
    return left, top, right, bottom


def mirrored(hashes: HashArray) -> HashArray:
    """The hashes [..., 32] of the same images, left and right exchanged.

    Mirroring changes the sign of the cosines of odd horizontal frequency and of no others.
    """
    return hashes ^ np.packbits(_frequencies()[1] % 2 == 1)


def perceptual_hashes(squares: FloatArray, crops: bool = True) -> HashArray:
    """Hash every view of grey squares [B, SIDE, SIDE], or the whole alone: uint8 [B, V, 32].

    A bit is the sign of one low frequency of the view's discrete cosine transform (after Zauner 2010, who compares
    with the median), so neither brightness nor contrast matters. One matrix a side cuts a view out, resamples and
    transforms it: all views of 6,000 images take a second and a half.
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


@remembered
def _intervals() -> tuple[tuple[float, float], ...]:
    """What may be left of a side, as start and stop, the whole first."""
    steps = round(MOST_CUT / STEP)
    cuts = [(before, after) for before in range(steps + 1) for after in range(steps + 1 - before)]
    return tuple((before * STEP, 1 - after * STEP) for before, after in cuts)


@remembered
def _views() -> tuple[tuple[tuple[float, float], tuple[float, float]], ...]:
    """Every horizontal interval with every vertical one."""
    return tuple(product(_intervals(), _intervals()))


def _views_of(count: int) -> int:
    return len(_views()) if count <= CROPS_UP_TO else 1


@remembered
def _frequencies() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The vertical and the horizontal frequency of each bit: the lowest there are, the mean brightness left out."""
    known = sorted(product(range(BITS), repeat=2), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    vertical, horizontal = np.array(known[1 : BITS + 1]).T
    return vertical, horizontal


def _cosines(start: float, stop: float, count: int) -> FloatArray:
    """A matrix [count, SIDE] that resamples an interval of a side to half as many points and takes its cosines."""
    points = (np.arange(SIDE // 2) + 0.5) / (SIDE // 2)
    places = (start + points * (stop - start)) * SIDE - 0.5
    width = max(1.0, 2 * (stop - start))
    resample = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(SIDE)) / width)
    resample /= resample.sum(axis=1, keepdims=True)
    matrix: FloatArray = (np.cos(np.pi * np.arange(count)[:, None] * points) @ resample).astype(np.float32)
    return matrix


def _read(manifest: Manifest, workers: int) -> Iterator[tuple[list[str], FloatArray]]:
    """Yield content hashes and grey squares [B, SIDE, SIDE], in the manifest's order."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        paths = manifest.table["path"].to_list()
        for start in range(0, len(paths), BLOCK):
            looked = pool.map(partial(_look, manifest.root), paths[start : start + BLOCK])
            names, squares = zip(*looked, strict=True)
            yield list(names), np.stack(squares)


def _look(root: Path, path: str) -> tuple[str, FloatArray]:
    with (root / path).open("rb") as file:
        name = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    grey = open_rgb(root / path, SIDE // 2).convert("L")
    return name, np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)


def _save(file: Path, found: Fingerprints) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with whole.open("wb") as stream:
        np.savez(stream, contents=np.array(found.contents), hashes=found.hashes, blank=found.blank)
    whole.replace(file)


def _load(file: Path, count: int) -> Fingerprints | None:
    """What is kept, None where there is nothing or something that cannot be read."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            found = Fingerprints(tuple(kept["contents"].tolist()), kept["hashes"], kept["blank"])
    except (OSError, ValueError, KeyError, EOFError, AssertionError, zipfile.BadZipFile):
        return None
    return found if len(found.contents) == count else None
