"""What is kept from run to run in the folder of caches: its kinds, their size, and their removal."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conspecific.config.location import options
from conspecific.errors import ConfigError, did_you_mean

ALL = "all"
KEYED = re.compile(r"\.partial-.*|[0-9a-f]{16}(\.\w+)?")  # what is cached is named by `files.cache_key`
DRAWN = ".butterflies.json"


@dataclass(frozen=True)
class Kind:
    """One kind of cached files. pattern: of its folders below the cache. downloaded: whether it comes from a server."""

    name: str
    pattern: str
    meaning: str
    downloaded: bool = False


KINDS = (
    Kind("activations", "activations", "of frozen stages, by image"),
    Kind("butterflies", "butterflies-*", "images that data=butterflies has drawn"),
    Kind("references", "references", "scores of the references"),
    Kind("teachers", "teachers", "embeddings for recipe.distillation"),
    Kind("hashes", "image_hashes", "of images, for the leak check"),
    Kind("copies", "copies", "pairs of copies that the leak check found"),
    Kind("checks", "checked", "which images could be read"),
    Kind("encoders", "encoders", "converted networks, and which backend is the fastest"),
    Kind("precision", "bfloat16", "where bfloat16 is precise enough"),
    Kind("downloads", "downloads", "archives of data sets", downloaded=True),
    Kind("datasets", "datasets", "unpacked data sets", downloaded=True),
)


@dataclass(frozen=True)
class Cached:
    """What there is of a kind. files: how many; size: in bytes."""

    kind: Kind
    folders: tuple[Path, ...]
    files: int
    size: int


def read_caches(cache: Path) -> list[Cached]:
    """Return what a folder of caches holds of each kind, in the order of `KINDS`; a kind of which there is none too.

    A folder that holds anything which no run has put there is no cache: it is neither counted nor removed.
    """
    return [_read(cache, kind) for kind in KINDS]


def clear_caches(cache: Path, names: Sequence[str]) -> list[Cached]:
    """Remove the kinds of these names, and return what was there. Nothing else in the folder is touched.

    names: of `KINDS`; `all` stands for those that are made again without a download. Raises ConfigError for another.
    """
    known = [ALL, *(kind.name for kind in KINDS)]
    for name in names:
        if name not in known:
            raise ConfigError(f"clear={name} is no kind of cached files. {did_you_mean(name, known)}")
    wanted = {*names, *(kind.name for kind in KINDS if ALL in names and not kind.downloaded)}
    found = [_read(cache, kind) for kind in KINDS if kind.name in wanted]
    for folder in (folder for each in found for folder in each.folders):
        shutil.rmtree(folder)
    return [each for each in found if each.folders]


def _read(cache: Path, kind: Kind) -> Cached:
    folders = tuple(path for path in sorted(_matching(cache, kind.pattern)) if _is_own(path, kind))
    sizes = [size for folder in folders for size in _sizes(folder)]
    return Cached(kind, folders, len(sizes), sum(sizes))


def _matching(cache: Path, pattern: str) -> Iterator[Path]:
    return cache.glob(pattern) if cache.is_dir() else iter(())


def _is_own(folder: Path, kind: Kind) -> bool:
    """Whether a folder holds what runs keep of this kind and nothing else of somebody's."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    if kind.name == "butterflies":
        return DRAWN in names
    if kind.downloaded:
        known = options("data")
        return all(name.startswith(".partial-") or name.partition(".")[0] in known for name in names)
    return all(KEYED.fullmatch(name) for name in names)


def _sizes(folder: Path) -> Iterator[int]:
    """Yield the bytes that each file below a folder takes; links are not followed."""
    for above, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(above, name)).st_size
            except OSError:  # another process has just removed it
                continue
