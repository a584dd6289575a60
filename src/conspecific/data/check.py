"""A check of every row and every image before training, with one message that names all problems."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import PIL
import polars as pl
from PIL import Image

from conspecific.data.manifest import ROLES, SPLITS, Manifest
from conspecific.errors import DataError, did_you_mean, name_some
from conspecific.files import cache_key, write_text
from conspecific.images import open_rgb
from conspecific.progress import progress_bar


def check_manifest(manifest: Manifest, cache: Path, *, scored: bool = True) -> str:
    """Verify a manifest and return its fingerprint.

    Each image is decoded once; `cache` remembers that all of them could be, for this manifest and this decoder.

    scored: whether species will be compared; if not, a species may have a single image.

    Raises DataError that counts and names every problem: paths outside the root folder, missing files, repeated paths,
    unknown split or role names, species without an image or with a single one, images that cannot be decoded.
    """
    problems = [check(manifest) for check in (_outside, _missing)]
    fingerprint = "" if any(problems) else manifest.fingerprint()  # which needs every file
    decoded = cache / "checked" / cache_key(fingerprint, PIL.__version__, Image.MAX_IMAGE_PIXELS)
    if not fingerprint or not decoded.exists():
        problems.append(_unreadable(manifest))
    problems += [check(manifest) for check in (_repeated, _unknown_names, *((_empty, _lone) if scored else ()))]
    found = [f"  - {problem}" for problem in problems if problem]
    if found:
        raise DataError("the data cannot be used as it is:\n" + "\n".join(found))
    write_text(decoded, "")
    return fingerprint


def _named(count_of: str, names: list[str], what_to_do: str) -> str:
    return f"{len(names)} {count_of}: {name_some(names)}. {what_to_do}"


def _outside(manifest: Manifest) -> str | None:
    locate = os.path.abspath if manifest.own_links else os.path.realpath
    root = locate(manifest.root)
    outside = [path for path in manifest.table["path"] if not _is_below(locate(manifest.root / path), root)]
    if not outside:
        return None
    links = "" if manifest.own_links else ", symbolic links resolved"
    return _named(
        "paths are outside the root folder",
        outside,
        f"Each must be below {manifest.root}{links}: set data.root to a folder that holds all of them.",
    )


def _is_below(path: str, root: str) -> bool:
    return path != root and os.path.commonpath((path, root)) == root


def _missing(manifest: Manifest) -> str | None:
    missing = [path for path in manifest.table["path"] if not (manifest.root / path).is_file()]
    return _named("files are missing", missing, f"Paths are relative to {manifest.root}.") if missing else None


def _repeated(manifest: Manifest) -> str | None:
    counts = Counter(os.path.normpath(path) for path in manifest.table["path"])
    repeated = [path for path, count in counts.items() if count > 1]
    return _named("paths appear more than once", repeated, "Keep one row per image.") if repeated else None


def _unknown_names(manifest: Manifest) -> str | None:
    found = []
    for column, known in (("split", SPLITS), ("role", ROLES)):
        names = manifest.table[column].drop_nulls().unique(maintain_order=True).to_list()
        found += [f"{column} {name!r} is unknown. {did_you_mean(name, known)}" for name in names if name not in known]
    return " ".join(found) or None


def _empty(manifest: Manifest) -> str | None:
    empty = list(manifest.empty)
    return _named("species folders hold no image", empty, "Remove them or add images.") if empty else None


def _lone(manifest: Manifest) -> str | None:
    lone = manifest.table.group_by("label").len().filter(pl.col("len") == 1)["label"].sort().to_list()
    return (
        _named("species have a single image", lone, "Add images or remove these species: each needs two.")
        if lone
        else None
    )


def _unreadable(manifest: Manifest) -> str | None:
    """Decode every existing file once, JPEGs at 1/8 of their size, which still reads the whole file."""
    paths = [path for path in manifest.table["path"].unique(maintain_order=True) if (manifest.root / path).is_file()]
    # warnings are silenced here and not in the threads, which share one list of filters
    with warnings.catch_warnings(), progress_bar() as progress:
        warnings.simplefilter("ignore")
        failures = _failures(manifest.root, paths)
        tracked = progress.track(failures, len(paths), description="Reading every image once")
        broken = [failure for failure in tracked if failure is not None]
    return _named("images cannot be read", broken, "Repair or remove them.") if broken else None


def _failures(root: Path, paths: list[str]) -> Iterator[str | None]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), 4096):  # in slices: a future per image of a large set takes memory
            yield from pool.map(partial(_failure, root), paths[start : start + 4096])


def _failure(root: Path, path: str) -> str | None:
    try:
        open_rgb(root / path, shorter_side=16)
    except OSError as error:
        return f"{path} ({error})"
    return None
