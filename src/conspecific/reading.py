"""Reading files that may come from elsewhere: regular files only, of bounded size, and plain values only."""

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

CHECKSUM = "checksum"  # the key of a JSON file that holds that of the other values
MOST_JSON = 2**24  # bytes of a file of a run or an index; those of a million images have some thousands


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


def read_json(path: Path) -> Any:
    """Return what a JSON file of MOST_JSON bytes at the most holds, without its checksum, which is compared.

    Raises OSError where it is larger, or cannot be read, and ValueError where it is no JSON, or was changed.
    """
    return parse_json(read_bounded(path, MOST_JSON))


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds, as `read_json` reads it; None where it cannot be read or holds another
    value."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def parse_json(content: bytes) -> Any:
    """Return what `read_json` returns for a file of these bytes."""
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(found, dict) and CHECKSUM in found and found.pop(CHECKSUM) != checksum_of(found):
        raise ValueError("it was changed: its checksum differs")
    return found


def checksum_of(content: Mapping[str, Any]) -> str:
    """Return a hash of JSON values, 128 bits in hexadecimal, which survives writing and reading them."""
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def json_keys(path: Path) -> frozenset[str]:
    """Return the keys of a JSON file of any size but CHECKSUM; none where it cannot be read, or holds no mapping."""
    try:
        with open_regular(path) as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return frozenset()
    return frozenset(found) - {CHECKSUM} if isinstance(found, dict) else frozenset()


def open_vectors(path: Path) -> NDArray[np.float32]:
    """Return the vectors [N, D] float32 of a .npy file, memory-mapped.

    Raises OSError where it cannot be read, and ValueError where it holds anything else, or more or fewer bytes than its
    header says.
    """
    with open_regular(path) as file:
        shape, order, dtype = _npy_header(file)
        start, size = file.tell(), os.fstat(file.fileno()).st_size
    if dtype != np.float32 or len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"it holds {dtype} of shape {shape}, and not vectors in float32")
    if start + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its {size:,} bytes are not those of {shape[0]:,} vectors of {shape[1]:,} dimensions")
    return np.memmap(path, np.float32, "r", start, shape, order)


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Return shape, order and type of an array. Raises ValueError where the header is none."""
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, in_columns, dtype = read(file)
    except (KeyError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
        raise ValueError("its header is damaged, or of an unknown version") from error
    return shape, "F" if in_columns else "C", dtype
