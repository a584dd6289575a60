"""Files and folders that appear whole or not at all, and arrays on disk that go with the process."""

import errno
import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from conspecific.errors import RunError, name_some
from conspecific.reading import CHECKSUM, checksum_of

DIGITS = 12  # of the hexadecimal number in a temporary name
ABANDONED = f".partial-{'?' * DIGITS}-"  # how a temporary name begins, as a pattern
ABANDONED_SECONDS = 24 * 3600.0  # age of a half-written file whose writer is taken for dead
MANY = 1000  # files
IN_MEMORY_BYTES = 2 << 30  # a temporary array larger than this is a memory-mapped file
HASH_BYTES = 16  # of a content hash
FULL = 2**20  # bytes; with fewer free ones, what could not be written failed because the disk is full
SYSTEM = frozenset({".DS_Store", "desktop.ini", "Thumbs.db"})  # that file managers leave in folders


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; what was written there becomes `path` when the block ends.

    The temporary file is in the same folder, is flushed to disk before it is renamed, and gets the mode of any new file
    (0666 less the umask) even where its writer gave it another. The folder is made where it is missing and flushed too,
    so that the name survives a power failure. A symbolic link stays, and the file it names is written. When the block
    raises, `path` is as it was before. Raises OSError (ENOSPC) where the disk is full, whatever the writer raises then.
    """
    path = _linked(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.touch()
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except Exception as error:
        if getattr(error, "errno", None) is None and shutil.disk_usage(path.parent).free < FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_whole_folder(folder: Path, *, keep_existing: bool = False, flush: bool = True) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; it takes the place of `folder`, if there is one, when the block ends.

    Every file in it is flushed to disk first. A symbolic link stays, and the folder it names is written. When the block
    raises, `folder` is as it was before. What is in `folder` is deleted: ask `refuse_other_content` where a user names
    it.

    keep_existing: raise FileExistsError in place of replacing a folder with something in it, as another process may
        have written while the block ran.
    flush: False for a cache whose reader compares a checksum, and so would notice what a power failure lost.
    """
    folder = _linked(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = _temporary(folder), _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        if flush:
            _flush_below(temporary)
        if folder.exists() and any(folder.iterdir()):
            if keep_existing:
                raise FileExistsError(f"{folder} has been written by another process")
            folder.replace(replaced)
        try:
            temporary.replace(folder)
        except OSError as error:
            if replaced.exists():
                replaced.replace(folder)
            if keep_existing and error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # in this very moment
                raise FileExistsError(f"{folder} has been written by another process") from error
            raise
        _flush(folder.parent)
    finally:
        for left in (temporary, replaced):
            shutil.rmtree(left, ignore_errors=True)


def nearest_existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def refuse_other_content(folder: Path, kind: str, own: Collection[str], is_own: Callable[[Path], bool]) -> None:
    """Raise RunError if `folder` is a file, or holds anything but `kind`: writing there would delete it.

    kind: in the plural, for the message. own: the names of all its files. is_own: whether a folder with something in it
    holds `kind`.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder} is a file, and {kind} need a folder. Name another one.")
    found = sorted(path.name for path in folder.iterdir() if path.name not in SYSTEM)
    if found and not is_own(folder):
        raise RunError(f"{folder} holds other files than {kind}, which would be deleted. Name another folder.")
    if other := [name for name in found if name not in own]:
        raise RunError(
            f"{folder} holds {name_some(other)} besides {kind}, which would be deleted. Move what is yours, or name "
            "another folder."
        )


def refuse_other_file(file: Path, command: str, is_own: Callable[[Path], bool]) -> None:
    """Raise RunError if `file` is there and `is_own` does not say that `command` made it: writing would destroy it."""
    if file.is_dir():
        raise RunError(f"{file} is a folder, and {command} writes a file: name another one")
    if file.exists() and not is_own(file):
        raise RunError(f"{file} exists and was not made by {command}: name another file, or remove it")


def remove_abandoned(path: Path) -> None:
    """Remove half-written versions of a file or folder that killed processes left beside it.

    Only for a `path` that no other process may be writing at the time, because of a lock for example.
    """
    _remove(path.parent.glob(f"{ABANDONED}{glob.escape(path.name)}"))


def remove_abandoned_files(*folders: Path) -> None:
    """Remove files that killed processes left half-written in folders, on the condition of `remove_abandoned`."""
    _remove(path for folder in folders for path in folder.glob(f"{ABANDONED}*") if path.is_file())


def remove_old_abandoned(cache: Path) -> None:
    """Remove what killed processes left half-written in a folder of caches more than ABANDONED_SECONDS ago.

    Other processes may be writing there. Looked at are the folder and two levels below it.
    """
    for levels in ("", "*/", "*/*/"):
        _remove(cache.glob(f"{levels}{ABANDONED}*"), before=time.time() - ABANDONED_SECONDS)


def _remove(paths: Iterable[Path], before: float = math.inf) -> None:
    for left in paths:
        with suppress(FileNotFoundError):  # another process may be doing the same
            if left.lstat().st_mtime > before:
                continue
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented and with a line break at its end, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_checked_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON as `write_json` does, with a checksum that `reading.read_json` compares."""
    write_json(path, {**content, CHECKSUM: checksum_of(content)})


def cache_key(*facts: Any) -> str:
    """Return 16 hexadecimal digits that name a cached result by everything it depends on, given as JSON values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def content_hash(path: Path) -> str:
    """Return BLAKE2b of a file's bytes, 128 bits in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()


def sha256_of(path: Path) -> str:
    """Return SHA-256 of a file's bytes, in hexadecimal: what records and indexes know weights and files by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash_of(content: bytes) -> str:
    """Return what `content_hash` returns for a file of these bytes."""
    return hashlib.blake2b(content, digest_size=HASH_BYTES).hexdigest()


def usable_bytes(folder: Path) -> int:
    """How much an array on the disk of `folder` may take: half of what is free, because other processes write too."""
    return shutil.disk_usage(folder).free // 2


def scratch_array(shape: tuple[int, ...], dtype: DTypeLike, folder: Path) -> NDArray[Any]:
    """Return an array in memory up to IN_MEMORY_BYTES, above that one that `unnamed_file` makes in `folder`."""
    small = math.prod(shape) * np.dtype(dtype).itemsize <= IN_MEMORY_BYTES
    return np.empty(shape, dtype) if small else unnamed_file(folder, shape, dtype)


def unnamed_file(folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap[Any, Any]:
    """Return an array on the disk of `folder` that goes with the last reference to it, or with the process.

    Raises OSError (ENOSPC) where the disk has no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="conspecific-", suffix=".array", dir=folder) as file:
        return new_array(Path(file.name), shape, dtype)


def new_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap[Any, Any]:
    """Return an array in a file: its bytes, without a header.

    Raises OSError (ENOSPC) where the disk has no room: writing to such an array would kill the process.
    """
    with path.open("w+b") as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape) * np.dtype(dtype).itemsize))
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def _linked(path: Path) -> Path:
    """The file or folder that a symbolic link names, which need not exist; a path that is none, as it is."""
    return path.resolve() if path.is_symlink() else path


def _temporary(path: Path) -> Path:
    """A hidden name beside `path`, with its suffix: some writers choose the format by it, others append it."""
    return path.with_name(f".partial-{uuid.uuid4().hex[:DIGITS]}-{path.name}")


def _flush_below(folder: Path) -> None:
    """Flush every file below a folder. Beyond MANY files, one flush of all disks is faster than one of each file."""
    paths = list(folder.rglob("*"))
    if len(paths) > MANY:
        os.sync()
    else:
        for path in paths:
            _flush(path)


def _flush(path: Path) -> None:
    """Have the operating system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
