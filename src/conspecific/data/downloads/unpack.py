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
MOST_GROWTH, LEAST_ROOM = 20, 1 << 30  # images do not shrink; annotations do, and are small
Report = Callable[[int], None]


def is_archive(path: Path) -> bool:
    """Whether the name says that it can be unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, *, most_bytes: int | None = None, most_files: int = MOST_FILES) -> None:
    """Unpack a tar, tgz or zip archive into a folder, which may hold something already.

    most_bytes: what may come out, by default twenty times the archive's size and a gigabyte.

    Raises DataError for an archive that is broken, encrypted or not one; that holds a path out of the folder, a link,
    a device, names that differ by capitals alone, or more than is allowed. Files unpacked before the error stay: use
    `files.write_whole_folder`.
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
    return f"{archive} is broken or no archive ({error}). Remove it and run again to fetch it anew."


class _Room:
    """A folder, and what may still be put into it."""

    def __init__(self, archive: str, folder: Path, most_bytes: int, most_files: int) -> None:
        self.archive, self.folder = archive, folder
        self.most_bytes, self.most_files = most_bytes, most_files
        self.bytes, self.names = 0, dict[str, str]()

    def write(self, name: str, size: int, content: IO[bytes] | None) -> None:
        """Write a file of `size` bytes, or make a folder where there is no content."""
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
                if written > size:  # the archive lied about it
                    raise self._refused(name, f"it holds more than the {size} bytes it announces")
                out.write(block)
        if written < size:
            raise self._refused(name, f"it ends after {written} of {size} bytes")

    def _place(self, name: str) -> Path:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise self._refused(name, "its path leaves the folder")
        return self.folder.joinpath(*path.parts)

    def _count(self, name: str, size: int) -> None:
        known = self.names.setdefault(name.casefold(), name)
        if known != name:
            raise self._refused(name, f"it differs from {known} by capitals alone")
        self.bytes += size
        if self.bytes > self.most_bytes or len(self.names) > self.most_files:
            raise self._refused(
                name, f"more comes out than is likely: over {self.most_bytes / MB:.0f} MB or {self.most_files} files"
            )

    def _refused(self, name: str, reason: str) -> DataError:
        return DataError(
            f"{self.archive} is refused at {name!r}: {reason}. It is not the file it should be: remove it."
        )


def _from_tar(stream: IO[bytes], archive: str) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it remembers half a million of them
            if member.isdir():
                yield member.name, 0, None
            elif member.isreg() and not member.issparse():
                yield member.name, member.size, tar.extractfile(member)
            else:
                raise DataError(f"{archive} is refused at {member.name!r}: it is no plain file. Remove it.")


def _from_zip(stream: IO[bytes], archive: str) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    with zipfile.ZipFile(stream) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{archive} is refused at {member.filename!r}: it is no plain file. Remove it.")
            if member.flag_bits & 1:
                raise DataError(f"{archive} is encrypted: unpack it by hand and give the folder with data.root=")
            if member.is_dir():
                yield member.filename, 0, None
                continue
            with opened.open(member) as content:
                yield member.filename, member.file_size, content
