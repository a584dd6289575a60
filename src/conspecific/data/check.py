"""A check of every row and every image before training, with one message that names all problems."""

import json
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import PIL

from conspecific.data.manifest import ROLES, SPLITS, Manifest
from conspecific.errors import DataError, did_you_mean, name_some
from conspecific.files import cache_key, write_text
from conspecific.images import FORMATS, Region, cores, file_of, why_outside, why_unreadable
from conspecific.progress import progress_bar


def check_manifest(manifest: Manifest, cache: Path, *, scored: bool = True) -> tuple[Manifest, str]:
    """Verify a manifest; return it without the images that `reading.on_bad=skip` leaves out, and its fingerprint.

    Each image is decoded once; `cache` remembers which could be, for this manifest and this decoder.

    scored: whether species will be compared; if not, a species folder may hold no image.

    Raises DataError that counts and names every problem: paths outside the root folder, missing files, repeated paths,
    unknown split or role names, species without an image, images that cannot be decoded, and more
    of these and missing files than `reading.max_bad_share` allows.
    """
    if scored and not manifest.labelled:
        raise DataError(
            f"the {len(manifest)} images in {manifest.root} have no species to train on or to score: all are in one "
            "folder, or no row of their table has a label. Make one folder per species (data=folder), or a table with "
            "a column of species (data=manifest)."
        )
    missing = {path: why for path in manifest.table["path"] if (why := _why_missing(manifest.root / file_of(path)))}
    fingerprint = manifest.fingerprint(missing)
    broken = _remembered(manifest, missing, cache / "checked", fingerprint)
    unreadable = [_missing(manifest, missing), _broken(broken)]
    bad = {**missing, **broken}
    if bad and manifest.reading.on_bad == "skip":
        unreadable = [_too_many(manifest, bad)]
        if not any(unreadable):
            manifest = manifest.without(bad)
            fingerprint = manifest.fingerprint()
    checks = _repeated, _unknown_names, *((_empty,) if scored else ())
    problems = [_outside(manifest), *unreadable, *(check(manifest) for check in checks)]
    found = [f"  - {problem}" for problem in problems if problem]
    if found:
        raise DataError("the data cannot be used as it is:\n" + "\n".join(found))
    return manifest, fingerprint


def _named(count_of: str, names: list[str], what_to_do: str) -> str:
    return f"{len(names)} {count_of}: {name_some(names)}. {what_to_do}"


def _outside(manifest: Manifest) -> str | None:
    locate = os.path.abspath if manifest.own_links else os.path.realpath
    root = locate(manifest.root)
    outside = [path for path in manifest.table["path"] if not _is_below(locate(manifest.root / file_of(path)), root)]
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


def _why_missing(path: Path) -> str | None:
    """Return why there is no regular file of this path; None where there is."""
    if os.path.isfile(path):  # unlike `Path.is_file`, it does not fail for a name that is too long
        return None
    if os.path.isdir(path):
        return "a folder"
    if os.path.lexists(path):
        return "not a regular file" if os.path.exists(path) else "a link to nowhere"
    return "missing"


def _missing(manifest: Manifest, missing: Mapping[str, str]) -> str | None:
    names = [path if why == "missing" else f"{path} ({why})" for path, why in missing.items()]
    return _named("files are missing", names, f"Paths are relative to {manifest.root}.") if names else None


def _broken(broken: Mapping[str, str]) -> str | None:
    names = [f"{path} ({reason})" for path, reason in broken.items()]
    return (
        _named("images cannot be read", names, "Repair or remove them, or leave them out with data.on_bad=skip.")
        if broken
        else None
    )


def _too_many(manifest: Manifest, bad: Mapping[str, str]) -> str | None:
    share, allowed = len(bad) / len(manifest), manifest.reading.max_bad_share
    if share <= allowed:
        return None
    names = [f"{path} ({reason})" for path, reason in bad.items()]
    more = f"{share:.1%} of all images, more than data.max_bad_share={allowed:g}. Repair or remove them, or raise it."
    return _named("images cannot be read", names, f"That is {more}")


def _repeated(manifest: Manifest) -> str | None:
    counts = Counter(os.path.normpath(path) for path in manifest.table["path"])
    repeated = [path for path, count in counts.items() if count > 1]
    return (
        _named("paths appear more than once", repeated, "Keep one row per image, or per box of it.")
        if repeated
        else None
    )


def _unknown_names(manifest: Manifest) -> str | None:
    found = []
    for column, known in (("split", SPLITS), ("role", ROLES)):
        names = manifest.table[column].drop_nulls().unique(maintain_order=True).to_list()
        found += [f"{column} {name!r} is unknown. {did_you_mean(name, known)}" for name in names if name not in known]
    return " ".join(found) or None


def _empty(manifest: Manifest) -> str | None:
    empty = list(manifest.empty)
    return _named("species folders hold no image", empty, "Remove them or add images.") if empty else None


def _remembered(manifest: Manifest, missing: Mapping[str, str], folder: Path, fingerprint: str) -> dict[str, str]:
    """Return path -> reason of the existing images that cannot be read; `folder` remembers those that can.

    The others are decoded again each time: what was wrong, such as a permission, may not show in the fingerprint.
    """
    file = folder / f"{cache_key(fingerprint, PIL.__version__, FORMATS, manifest.reading.max_pixels)}.json"
    known = [path for path in manifest.table["path"].unique(maintain_order=True) if path not in missing]
    try:
        paths = json.loads(file.read_text(encoding="utf-8"))
        if not set(paths) <= set(known):
            raise ValueError("it names other images")
    except (OSError, ValueError, TypeError):  # not decoded yet, or damaged
        paths = known
    found = _decode_all(manifest, paths)
    write_text(file, json.dumps(list(found)))
    return found


def _decode_all(manifest: Manifest, paths: list[str]) -> dict[str, str]:
    """Return path -> reason of the images that cannot be read. One with several boxes is decoded once."""
    boxes = defaultdict[str, list[str]](list)
    for path in paths:
        boxes[file_of(path)].append(path)
    # warnings are silenced here and not in the threads, which share one list of filters
    with warnings.catch_warnings(), progress_bar() as progress:
        warnings.simplefilter("ignore")
        faults = _faults(manifest, boxes)
        tracked = progress.track(faults, len(boxes), description="Reading every image once")
        return {path: reason for found in tracked for path, reason in found.items()}


def _faults(manifest: Manifest, boxes: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    """Yield path -> reason of the paths into each file that cannot be read. boxes: file -> the paths into it."""
    files = list(boxes)
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(files), 4096):  # in slices: a future per image of a large set takes memory
            some = files[start : start + 4096]
            yield from pool.map(partial(_faults_of, manifest), some, [boxes[file] for file in some])


def _faults_of(manifest: Manifest, file: str, paths: list[str]) -> dict[str, str]:
    reason = why_unreadable(manifest.root / file, max_pixels=manifest.reading.max_pixels)
    if reason is not None:
        return dict.fromkeys(paths, reason)
    regions = {path: region for path in paths if (region := Region.of(path)) is not None}
    outside = why_outside(manifest.root / file, list(regions.values())) if regions else []
    return {path: why for path, why in zip(regions, outside, strict=True) if why is not None}
