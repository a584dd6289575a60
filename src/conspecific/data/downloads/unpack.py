"""Unpacking archives that are not trusted: only regular files come out, and none outside the folder."""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from conspecific.data.downloads.files import BLOCK, MB
from conspecific.errors import DataError
from conspecific.progress import progress_bar

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".zip")
MOST_FILES = 2_000_000
MOST_GROWTH, LEAST_ROOM = 20, 1 << 30  # images compress little; annotations compress well, but are small
Report = Callable[[int], None]


def is_archive(path: Path) -> bool:
    """Return whether the name is that of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, *, most_bytes: int | None = None, most_files: int = MOST_FILES) -> None:
    """Unpack a tar, tgz or zip archive into a folder, which need not be empty.

    most_bytes, most_files: limits of what is unpacked; by default 20 times the size of the archive plus 1 GB, and
        MOST_FILES.

    Raises DataError for a file that is damaged, encrypted or not an archive, and for an archive with a path outside the
    folder, a link, a device, names that differ only in case, or more than the limits. Files unpacked before the error
    stay: use `files.write_whole_folder`.
    """
    allowed = archive.stat().st_size * MOST_GROWTH + LEAST_ROOM if most_bytes is None else most_bytes
    room = _Room(archive.name, folder.resolve(), allowed, most_files)
    members = _from_zip if archive.name.lower().endswith(".zip") else _from_tar
    try:
        with archive.open("rb") as stream, progress_bar() as progress:
            task = progress.add_task(f"Unpacking {archive.name} (MB)", total=archive.stat().st_size / MB)
            for name, size, content in members(stream, archive.name):
                room.write(name, size, content)
                progress.update(task, completed=stream.tell() / MB)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, NotImplementedError) as error:
        raise DataError(_broken(archive, error)) from error
    except OSError as error:
        told = _broken(archive, error) if error.errno is None else f"{archive} cannot be unpacked: {error}"
        raise DataError(told) from error


def _broken(archive: Path, error: Exception) -> str:
    return f"{archive} is damaged or not an archive ({error}). Remove it and run again to download it again."


class _Room:
    """A folder, and the limits of what may be written into it."""

    def __init__(self, archive: str, folder: Path, most_bytes: int, most_files: int) -> None:
        self.archive, self.folder = archive, folder
        self.most_bytes, self.most_files = most_bytes, most_files
        self.bytes, self.names = 0, dict[str, str]()

    def write(self, name: str, size: int, content: IO[bytes] | None) -> None:
        """Write a file of `size` bytes, or make a folder if there is no content."""
        target = self._place(name)
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            return
        self._count(name, size)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with target.open("wb") as out:
            while block := content.read(BLOCK):
                written += len(block)
                if written > size:  # the header of the archive is wrong
                    raise self._refused(name, f"it has more than its announced {size} bytes")
                out.write(block)
        if written < size:
            raise self._refused(name, f"it ends after {written} of {size} bytes")

    def _place(self, name: str) -> Path:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise self._refused(name, "its path is outside the folder")
        return self.folder.joinpath(*path.parts)

    def _count(self, name: str, size: int) -> None:
        known = self.names.setdefault(name.casefold(), name)
        if known != name:
            raise self._refused(name, f"it differs from {known} only in case")
        self.bytes += size
        if self.bytes > self.most_bytes or len(self.names) > self.most_files:
            raise self._refused(
                name, f"the archive unpacks to more than {self.most_bytes / MB:.0f} MB or {self.most_files} files"
            )

    def _refused(self, name: str, reason: str) -> DataError:
        return DataError(f"{self.archive} is refused at {name!r}: {reason}. It cannot be the right file: remove it.")


def _from_tar(stream: IO[bytes], archive: str) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # or it keeps half a million of them in memory
            if member.isdir():
                yield member.name, 0, None
            elif member.isreg() and not member.issparse():
                yield member.name, member.size, tar.extractfile(member)
            else:
                raise DataError(f"{archive} is refused at {member.name!r}: it is not a regular file. Remove it.")


def _from_zip(stream: IO[bytes], archive: str) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    with zipfile.ZipFile(stream) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{archive} is refused at {member.filename!r}: it is not a regular file. Remove it.")
            if member.flag_bits & 1:
                raise DataError(f"{archive} is encrypted: unpack it by hand and set data.root= to the folder")
            if member.is_dir():
                yield member.filename, 0, None
                continue
            with opened.open(member) as content:
                yield member.filename, member.file_size, content
