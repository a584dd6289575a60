"""Reading files that may come from elsewhere: regular files only, of bounded size, and plain values only."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading its bytes, never waiting for one.

    Raises OSError where it cannot be opened or is no regular file: a named pipe would be waited for, a device may have
    no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    reason = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "Not a regular file"
    raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, reason, str(path))


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file, of `most` bytes at the most. Raises OSError for anything else."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"Larger than {most / 2**20:g} MiB, which is the limit here", str(path))
    return content


def json_keys(path: Path) -> frozenset[str]:
    """Return the keys of a JSON file of any size; none where it cannot be read, or holds no mapping."""
    try:
        with open_regular(path) as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return frozenset()
    return frozenset(found) if isinstance(found, dict) else frozenset()
