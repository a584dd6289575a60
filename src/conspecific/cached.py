"""Cached results: a folder each, with a checksum of every file. What is damaged is made again, with a word."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from conspecific.files import content_hash, write_json, write_whole_folder

CHECKSUMS = "checksums.json"


def cached(folder: Path, make: Callable[[Path], object], say: Callable[[str], None]) -> Path:
    """Return a folder of cached files; `make` writes them into an empty folder where they are not there, or damaged.

    Several processes may make one folder at once: the first to finish puts its own there, and the others use that.

    make: gets the folder to write into. say: gets a sentence where the folder is damaged, or has no checksums, as those
        of earlier versions; it is then removed and made again.
    """
    if folder.exists():
        damage = find_damage(folder, _stored(folder))
        if damage is None:
            return folder
        say(f"{folder} cannot be used, {damage}: it is made again.")
        shutil.rmtree(folder, ignore_errors=True)
    try:
        with write_whole_folder(folder, keep_existing=True) as part:
            make(part)
            write_json(part / CHECKSUMS, checksums(part))
    except FileExistsError:
        if not folder.is_dir():
            raise
    return folder


def checksums(folder: Path) -> dict[str, str]:
    """Return name -> hash of the content of each file in a folder."""
    return {path.name: content_hash(path) for path in sorted(folder.iterdir())}


def find_damage(folder: Path, expected: Mapping[str, str] | None) -> str | None:
    """Say which file of a folder is not as it was written, None where all are. expected: what `checksums` returned."""
    if expected is None:
        return "it has no checksums"
    for name, found in expected.items():
        try:
            if content_hash(folder / name) != found:
                return f"{name} was changed"
        except OSError:
            return f"{name} cannot be read"
    return None


def _stored(folder: Path) -> dict[str, str] | None:
    try:
        found = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None
