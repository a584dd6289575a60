"""What two images are compared by before a network sees them: the hash of the file, perceptual hashes of the pixels."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from conspecific.cached import cached
from conspecific.data.manifest import Manifest
from conspecific.files import cache_key
from conspecific.images import image_hash
from conspecific.leaks import perceptual
from conspecific.leaks.perceptual import BITS, SIDE, HashArray, crops_of, perceptual_hashes
from conspecific.progress import progress_bar
from conspecific.types import FloatArray

VERSION = 1  # raise it when a change of code changes hashes, so that cached ones are computed again
LEAST_CONTRAST = 4.0  # standard deviation in grey levels, below which perceptual hashes are noise
HASHES = "hashes.npz"
BLOCK = 256  # images hashed at once, about 40 MB of memory


@dataclass(frozen=True, slots=True)
class ImageHashes:
    """Hashes of N images, in the order of the manifest.

    contents: BLAKE2b of each file's bytes, and of the box of the image where it has one, 128 bits in hexadecimal.
    hashes: [N, C, 32] uint8, the perceptual hashes of C crops of each image, the first of the whole image; see
        `perceptual.crop_box`. C is 1 for more than `perceptual.CROPS_UP_TO` images.
    blank: [N] bool, True where the image has too little contrast for a perceptual hash.
    """

    contents: tuple[str, ...]
    hashes: HashArray
    blank: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.contents)
        assert self.hashes.shape == (count, crops_of(count), BITS // 8) and self.hashes.dtype == np.uint8
        assert self.blank.shape == (count,) and self.blank.dtype == np.bool_

    @property
    def has_crops(self) -> bool:
        """Whether cropped copies can be found."""
        return int(self.hashes.shape[1]) > 1


def hashing_facts() -> tuple[object, ...]:
    """Return what hashes depend on besides the images: settings, and the version of the decoder."""
    settings = SIDE, BITS, perceptual.STEP, perceptual.MOST_CROPPED, perceptual.CROPS_UP_TO, LEAST_CONTRAST
    return VERSION, *settings, PIL.__version__


def image_hashes(manifest: Manifest, key: str, cache: Path, workers: int, console: Console) -> ImageHashes:
    """Return the hashes of every image, from `cache` if they are there.

    Each file is read and decoded once. Memory: 3.2 kB an image, or 32 bytes without crops.

    Args:
        manifest: the images.
        key: the manifest's fingerprint, see `data.check.check_manifest`.
        cache: folder of all caches.
        workers: number of decoding threads.
        console: where the progress bar is drawn.

    Raises:
        OSError: an image cannot be read.
    """

    def make(folder: Path) -> None:
        found = _hashed(manifest, workers, console)
        np.savez(folder / HASHES, contents=np.array(found.contents), hashes=found.hashes, blank=found.blank)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    folder = cached(cache / "image_hashes" / cache_key(key, *hashing_facts()), make, say)
    with np.load(folder / HASHES, allow_pickle=False) as kept:
        return ImageHashes(tuple(kept["contents"].tolist()), kept["hashes"], kept["blank"])


def _hashed(manifest: Manifest, workers: int, console: Console) -> ImageHashes:
    contents: list[str] = []
    hashes = np.empty((len(manifest), crops_of(len(manifest)), BITS // 8), np.uint8)
    blank = np.empty(len(manifest), np.bool_)
    # warnings are silenced here and not in the threads, which share one list of filters
    with warnings.catch_warnings(), progress_bar(console) as progress:
        warnings.simplefilter("ignore")
        task = progress.add_task("Looking for copies", total=len(manifest))
        for names, squares in _read(manifest, workers):
            rows = slice(len(contents), len(contents) + len(names))
            hashes[rows] = perceptual_hashes(squares, crops=hashes.shape[1] > 1)
            blank[rows] = squares.std(axis=(1, 2)) < LEAST_CONTRAST
            contents += names
            progress.update(task, completed=len(contents))
    return ImageHashes(tuple(contents), hashes, blank)


def _read(manifest: Manifest, workers: int) -> Iterator[tuple[list[str], FloatArray]]:
    """Yield content hashes and grey squares [B, SIDE, SIDE], in the manifest's order."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for start in range(0, len(manifest), BLOCK):
            read = pool.map(partial(_read_one, manifest), range(start, min(start + BLOCK, len(manifest))))
            names, squares = zip(*read, strict=True)
            yield list(names), np.stack(squares)


def _read_one(manifest: Manifest, sample_id: int) -> tuple[str, FloatArray]:
    content = image_hash(manifest.path(sample_id))
    grey = manifest.open_rgb(sample_id, SIDE // 2).convert("L")
    return content, np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
