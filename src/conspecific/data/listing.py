"""The files below a folder: images, and those that are left out."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from conspecific.errors import DataError, name_some
from conspecific.images import FORMATS, image_suffixes, what_is_needed

KEPT_NAMES = 5  # of the files of one kind that are left out


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files of one kind that are not part of a manifest.

    kind: what they are, such as ".txt" or "beside the species folders".
    count: how many there are. first: paths, relative to the root folder, of up to KEPT_NAMES of them.
    """

    kind: str
    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, paths: Iterable[Path], root: Path) -> Self:
        """Count files and keep the names of the first."""
        listed = list(paths)
        return cls(kind, len(listed), tuple(path.relative_to(root).as_posix() for path in listed[:KEPT_NAMES]))

    def __str__(self) -> str:
        return f"{self.count} {self.kind} ({name_some(self.first, self.count)})"


def existing_path(path: str, key: str, test: Callable[[Path], bool], kind: str) -> Path:
    """Return the absolute path of what a key names. Raises DataError unless `test` says that it is there."""
    found = Path(path).expanduser()
    if not test(found):
        raise DataError(f"{key}={path} is not {kind}. Give the path of one that exists (from {Path.cwd()}).")
    return found.resolve()


def file_and_root(path: str, root: str | None, kind: str) -> tuple[Path, Path]:
    """Return the absolute paths of a file and of the folder that its image paths are relative to.

    root: None: the folder that holds the file. kind: what `data.path` should be. Raises DataError for missing ones.
    """
    file = existing_path(path, "data.path", Path.is_file, kind)
    return file, file.parent if root is None else existing_path(root, "data.root", Path.is_dir, "a folder")


def list_files(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted, without hidden files and folders. Symbolic links are followed.

    Raises DataError for names that are not UTF-8, which tables and reports cannot hold.
    """
    found = list(_walk(folder, ()))
    foreign = [path for path in found if str(path).encode(errors="ignore") != os.fsencode(path)]
    if foreign:
        raise DataError(f"{len(foreign)} file names are not UTF-8, first {str(min(foreign))!a}: rename them")
    return sorted(found)


def _walk(folder: Path, above: tuple[os.stat_result, ...]) -> Iterator[Path]:
    """Yield the files below a folder; a link to a folder that contains it is not followed. above: those folders."""
    within = (*above, folder.stat())
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not (os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()):  # the latter fails for a link loop
                yield Path(entry.path)  # a broken link too: the check names it as a missing file
            elif not any(os.path.samestat(entry.stat(), known) for known in within):
                yield from _walk(Path(entry.path), within)


def is_image(path: Path) -> bool:
    """Return whether the name of a file says that it is an image."""
    return path.suffix.lower() in image_suffixes(FORMATS)


def other_files(files: Iterable[Path], root: Path) -> tuple[LeftOut, ...]:
    """Count the files that are not images by suffix, the most frequent first."""
    kinds: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        if not is_image(path):
            suffix = path.suffix.lower() or "without a suffix"
            needed = what_is_needed(suffix, FORMATS)
            kinds[f"{suffix}, which needs {needed}" if needed else suffix].append(path)
    ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(LeftOut.of(kind, paths, root) for kind, paths in ordered)
