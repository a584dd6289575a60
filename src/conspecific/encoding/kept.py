"""Activations of images, computed once and kept on disk from run to run."""

import json
import math
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from conspecific.encoding.rows import Block, Rows
from conspecific.files import (
    ABANDONED_SECONDS,
    IN_MEMORY_BYTES,
    new_array,
    scratch_array,
    usable_bytes,
    write_json,
    write_whole_folder,
)
from conspecific.types import IntArray

SHARE = 0.25  # of the free disk, what is kept included, that kept activations may take


class KeptActivations:
    """Blocks of activations below a folder, each found by what computed it and by the content of its image.

    A group holds the activations that one network computed in one way from images prepared in one way; its name is a
    hash of all that. A block is a folder that is written whole: the rows, a key for each, and a checksum. Several
    processes may add blocks at once; an image that two of them computed is there twice, which does no harm. A block
    that is damaged is removed, and its images are encoded again. The least recently used blocks are removed where all
    would take more than SHARE of the disk.

    folder: None keeps nothing beyond this object.
    """

    def __init__(self, folder: Path | None = None, say: Callable[[str], None] = print) -> None:
        self.folder, self.say = folder, say
        self._blocks: dict[str, dict[str, Block]] = {}  # of each group, name -> rows
        self._places: dict[str, dict[str, tuple[str, int]]] = {}  # of each group, key -> name of its block, row

    def find(self, group: str, keys: Sequence[str]) -> Rows | None:
        """Return the rows of images, in the order of their keys; None where one is missing."""
        return None if len(self.missing(group, keys)) else self._rows(group, keys)

    def completed(self, group: str, keys: Sequence[str], encode: Callable[[IntArray], Iterator[Block]]) -> Rows:
        """Return the rows of images, in the order of their keys; those that are missing are computed and kept.

        encode: from the places of the missing keys to their rows, as `add` takes them.
        """
        if len(missing := self.missing(group, keys)):
            self.add(group, [keys[place] for place in missing], encode(missing))
        return self._rows(group, keys)

    def missing(self, group: str, keys: Sequence[str]) -> IntArray:
        """Return the places of the keys that the group does not have, each key once."""
        self._read(group)
        for name in {self._places[group][key][0] for key in keys if key in self._places[group]}:
            self._open(group, name)  # a block that is damaged is dropped, with its keys
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        return np.array(sorted(place for key, place in first.items() if key not in self._places[group]), np.int64)

    def room(self) -> int:
        """Return how many bytes of activations this object may hold, kept or not."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return max(IN_MEMORY_BYTES, usable_bytes(self._scratch))

    def add(self, group: str, keys: Sequence[str], batches: Iterator[Block]) -> None:
        """Keep the rows of images.

        keys: [n], each once. batches: [b, ...], the rows in order. The caller asks `room`. What does not fit into the
        share of the disk is not kept beyond this object.
        """
        self._read(group)
        first = next(batches)
        batches, shape = chain([first], batches), (len(keys), *first.shape[1:])
        needed = math.prod(shape) * first.dtype.itemsize
        if self.folder is not None and self._make_room(needed):
            name = f"{time.time_ns():x}-{os.getpid():x}"
            with write_whole_folder(self.folder / group / name, flush=False) as temporary:  # it has a checksum
                rows: Block = new_array(temporary / "rows", shape, first.dtype)
                facts = {"shape": shape, "dtype": str(first.dtype), "crc32": _fill(rows, batches)}
                np.save(temporary / "keys.npy", np.array([key.encode() for key in keys]))
                write_json(temporary / "facts.json", facts)
        else:
            if self.folder is not None:
                self.say(
                    f"The activations of {len(keys):,} images take {needed / 1e9:.1f} GB, more than {SHARE:.0%} of the "
                    f"free disk at {self.folder}: they are not kept for the next run."
                )
            name = f"not kept, {len(self._blocks[group])}"
            rows = scratch_array(shape, first.dtype, self._scratch)
            _fill(rows, batches)
        self._blocks[group][name] = rows
        self._places[group] |= {key: (name, row) for row, key in enumerate(keys)}

    @property
    def _scratch(self) -> Path:
        return self.folder or Path(tempfile.gettempdir())

    def _rows(self, group: str, keys: Sequence[str]) -> Rows:
        places = [self._places[group][key] for key in keys]
        names = sorted({name for name, _ in places})
        number = {name: place for place, name in enumerate(names)}
        blocks = [self._blocks[group][name] for name in names]
        return Rows(blocks, np.array([number[name] for name, _ in places]), np.array([row for _, row in places]))

    def _read(self, group: str) -> None:
        """Read the keys of the blocks of a group, once for this object."""
        if group in self._places:
            return
        self._places[group], self._blocks[group] = {}, {}
        for block in self._all_blocks(group):
            try:
                keys = np.load(block / "keys.npy", allow_pickle=False)
                self._places[group] |= {key.decode(): (block.name, row) for row, key in enumerate(keys.tolist())}
            except (OSError, ValueError, EOFError, AttributeError):
                self._drop(group, block)

    def _open(self, group: str, name: str) -> None:
        """Open a block and compare it with its checksum; drop it if it is damaged."""
        if name in self._blocks[group]:
            return
        assert self.folder is not None, "only blocks on disk are not open"
        block = self.folder / group / name
        try:
            facts = json.loads((block / "facts.json").read_text(encoding="utf-8"))
            shape, dtype = tuple(map(int, facts["shape"])), np.dtype(str(facts["dtype"]))
            if (block / "rows").stat().st_size != math.prod(shape) * dtype.itemsize:
                raise ValueError("it has another size")
            rows = np.memmap(block / "rows", dtype, "r", shape=shape)
            if _checksum(rows) != facts["crc32"]:
                raise ValueError("its checksum differs")
            os.utime(block)  # used now
        except (OSError, ValueError, KeyError, TypeError):
            self._drop(group, block)
            return
        self._blocks[group][name] = rows

    def _drop(self, group: str, block: Path) -> None:
        self.say(f"{block} is damaged: it is removed, and its images are encoded again.")
        self._places[group] = {key: at for key, at in self._places[group].items() if at[0] != block.name}
        shutil.rmtree(block, ignore_errors=True)

    def _all_blocks(self, group: str = "*") -> list[Path]:
        """Return the folders of all blocks, or of those of a group, the least recently used first."""
        if self.folder is None:
            return []
        found = []
        for block in self.folder.glob(f"{group}/*"):
            try:
                age = block.stat().st_mtime
            except OSError:  # another process has just removed it
                continue
            if not block.name.startswith("."):
                found.append((age, block))
            elif time.time() - age > ABANDONED_SECONDS:
                shutil.rmtree(block, ignore_errors=True)
        return [block for _, block in sorted(found)]

    def _make_room(self, needed: int) -> bool:
        """Remove the least recently used blocks, but none in use here, until `needed` bytes fit; return whether they
        do."""
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        blocks = {block: _size(block) for block in self._all_blocks()}
        limit = SHARE * (shutil.disk_usage(self.folder).free + sum(blocks.values()))
        in_use = {name for blocks_of in self._blocks.values() for name in blocks_of}
        removable = [block for block in blocks if block.name not in in_use]
        if sum(blocks.values()) - sum(blocks[block] for block in removable) + needed > limit:
            return False
        for block in removable:
            if sum(blocks.values()) + needed <= limit:
                break
            shutil.rmtree(block, ignore_errors=True)
            del blocks[block]
            group = self._places.get(block.parent.name, {})
            self._places[block.parent.name] = {key: at for key, at in group.items() if at[0] != block.name}
        return True


def _fill(rows: Block, batches: Iterable[Block]) -> int:
    """Write batches into an array, and return its checksum."""
    done, checksum = 0, 0
    for batch in batches:
        rows[done : done + len(batch)] = batch
        checksum = zlib.crc32(np.ascontiguousarray(batch).data, checksum)
        done += len(batch)
    assert done == len(rows), "there is a row for each key"
    return checksum


def _checksum(rows: Block) -> int:
    found, step = 0, max(1, (1 << 26) // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        found = zlib.crc32(np.ascontiguousarray(rows[start : start + step]).data, found)
    return found


def _size(block: Path) -> int:
    try:
        return (block / "rows").stat().st_size
    except OSError:  # another process has just removed it
        return 0
