"""Tensors by name in a .safetensors file, with a checksum of its own."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from conspecific.errors import ConfigError
from conspecific.files import write_whole

CHECKSUM = "checksum"  # in the metadata: the hash of all tensors
METADATA = "__metadata__"  # in the header, which follows its length in 8 bytes


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as .safetensors, whole or not at all: the same bytes for the same values.

    metadata: any but CHECKSUM, which is added.
    """
    plain = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
    with write_whole(path) as temporary:
        save_file(plain, temporary, {**(metadata or {}), CHECKSUM: _checksum(plain)})
        _sort_metadata(temporary)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, and compare its checksum where it has one. Raises ConfigError where it is damaged."""
    try:
        with safe_open(path, "pt") as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118, it is no mapping
            wanted = (content.metadata() or {}).get(CHECKSUM)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read as weights: {error}") from error
    if wanted is not None and wanted != _checksum(tensors):
        raise ConfigError(f"{path} is damaged: its checksum is not that of its tensors. Restore it from a copy")
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a .safetensors file alone. Raises ConfigError where it is damaged."""
    try:
        with safe_open(path, "pt") as content:
            return content.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read as weights: {error}") from error


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a file in order, which the library writes in a random one, without moving a tensor."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header[METADATA] = dict(sorted(header[METADATA].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of names, types, shapes and bytes, 128 bits in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
