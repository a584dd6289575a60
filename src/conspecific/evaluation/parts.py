"""Embeddings that several processes make in parts, and that are joined on disk."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.lib.format import open_memmap
from pyarrow.parquet import ParquetWriter

from conspecific.cached import checksums, find_damage
from conspecific.errors import ConfigError, RunError, name_some
from conspecific.evaluation.store import CHECKSUMS, FACTS, IMAGES, VECTORS, require_replaceable
from conspecific.files import write_json, write_whole, write_whole_folder
from conspecific.parquet import read_parquet
from conspecific.reading import open_vectors, read_object
from conspecific.types import FloatArray, IntArray

BLOCK = 2048  # images whose vectors are written at once: what a process that is killed loses at most
PLAN = "plan.json"  # what the vectors of a part depend on, written before them
COLUMNS = pa.schema([("id", pa.int64()), ("path", pa.string()), ("label", pa.string())])
FAULTS = (OSError, ValueError, KeyError, pl.exceptions.PolarsError)  # of files that are damaged


@dataclass(frozen=True)
class Part:
    """One of a number of equal parts of a list of images. number: from 1 to `count`."""

    count: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user writes: 3/100 is the third of a hundred. Raises ConfigError."""
        found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text)
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise ConfigError(f"shard must be a part and the number of parts, from 1/100 to 100/100; found {text}")
        return cls(count, number)

    def of(self, images: int) -> slice:
        """Return the places of the part in a list of images, those of one part after those of another."""
        return slice(images * (self.number - 1) // self.count, images * self.number // self.count)

    def folder(self, output: Path) -> Path:
        """Return where the part of the embeddings in `output` is."""
        return parts_folder(output) / f"{self.number:07}-of-{self.count:07}"


def parts_folder(output: Path) -> Path:
    """Return the folder of the parts of the embeddings that are to be in `output`."""
    return output.with_name(f"{output.name}.parts")


def write_part(
    part: Part, output: Path, facts: Mapping[str, Any], images: pl.DataFrame, encode: Callable[[IntArray], FloatArray]
) -> Path:
    """Write the embeddings of a part, and return its folder.

    facts: what all vectors depend on, which is the same for all parts. images: path and label of each of the part.
    encode: from places in `images` to vectors [n, D] float32. A part that is there is not made again unless it is
    damaged, and one that was cut off goes on after its last block. Raises RunError where the folder holds parts of
    other embeddings.
    """
    folder = part.folder(output)
    require_replaceable(output)  # before the work, not at its end
    plan, found = {**facts, "images": len(images)}, _plan(folder)
    if found not in (None, plan):
        raise RunError(
            f"{folder} holds a part of other embeddings: of other images, or by other weights. Delete it, or name "
            "another folder with output=FOLDER"
        )
    if _ended(folder):
        if _damage(folder) is None:
            return folder
        shutil.rmtree(folder)  # which of its blocks can be kept is not known
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN, plan)
    for start in range(0, len(images), BLOCK):
        block = folder / f"{start:012}.npy"
        if not _is_whole(block):
            vectors = encode(np.arange(start, min(start + BLOCK, len(images))))
            with write_whole(block) as temporary:
                np.save(temporary, vectors)
    with write_whole(folder / IMAGES) as temporary:
        images.write_parquet(temporary)
    own = {name: found for name, found in checksums(folder).items() if name != FACTS}
    write_json(folder / FACTS, {CHECKSUMS: own})
    return folder


def merge_parts(output: Path) -> tuple[int, int]:
    """Join all parts of the embeddings that are to be in `output`, and delete them; return their number and dimensions.

    Each part is compared with its checksums first. `output` is written whole, or not at all, as `store.save_embeddings`
    writes it. Raises RunError where a part is missing, damaged, or of other embeddings than the first.
    """
    parts = _complete(output)
    require_replaceable(output)
    plans = [_plan(part) or {} for part in parts]
    count, facts = sum(int(plan["images"]) for plan in plans), {**plans[0]}
    del facts["images"]
    blocks = [block for part in parts for block in sorted(part.glob("*.npy"))]
    dimensions = open_vectors(blocks[0]).shape[1] if blocks else 0
    with write_whole_folder(output) as temporary:
        _join_vectors(temporary / VECTORS, blocks, (count, dimensions))
        with ParquetWriter(temporary / IMAGES, COLUMNS) as writer:
            for table in _numbered(read_parquet(part / IMAGES) for part in parts):
                writer.write_table(table.to_arrow().cast(COLUMNS))
        write_json(temporary / FACTS, {**facts, CHECKSUMS: checksums(temporary)})
    shutil.rmtree(parts_folder(output))
    return count, dimensions


def _complete(output: Path) -> list[Path]:
    """Return the folders of all parts in their order."""
    folder = parts_folder(output)
    found = sorted(path for path in folder.glob("*-of-*") if path.is_dir())
    if not found:
        raise RunError(f"{folder} holds no part: conspecific embed RUN output={output} shard=1/100 makes the first")
    counts = sorted({int(path.name.rpartition("-")[2]) for path in found})
    if len(counts) > 1:
        told = " and ".join(map(str, counts))
        raise RunError(f"{folder} holds parts of {told}, which overlap: delete those of one of these numbers")
    everything = [Part(counts[0], number).folder(output) for number in range(1, counts[0] + 1)]
    if missing := [f"{number}/{counts[0]}" for number, path in enumerate(everything, 1) if not _ended(path)]:
        raise RunError(f"{len(missing)} of {counts[0]} parts are not there, or not ended: shard={name_some(missing)}")
    if others := [path.name for path in everything if not _same(path, everything[0])]:
        raise RunError(
            f"{name_some(others)} are of other images, or by other weights, than the first part: make them again"
        )
    if damaged := [f"{path.name}, {reason}" for path in everything if (reason := _damage(path))]:
        raise RunError(f"damaged parts: {name_some(damaged)}. Make them again")
    return everything


def _join_vectors(path: Path, blocks: list[Path], shape: tuple[int, int]) -> None:
    joined = open_memmap(path, "w+", np.float32, shape)
    done = 0
    for block in blocks:
        vectors = open_vectors(block)
        joined[done : done + len(vectors)] = vectors
        done += len(vectors)
    assert done == shape[0], "each block has its checksum"
    joined.flush()


def _numbered(tables: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield tables with the column `id`: the places of their rows in all of them."""
    done = 0
    for table in tables:
        yield table.insert_column(0, pl.Series("id", range(done, done + len(table)), pl.Int64))
        done += len(table)


def _plan(folder: Path) -> dict[str, Any] | None:
    return read_object(folder / PLAN)


def _same(folder: Path, other: Path) -> bool:
    mine, theirs = _plan(folder) or {}, _plan(other) or {}
    return {**mine, "images": 0} == {**theirs, "images": 0}


def _ended(folder: Path) -> bool:
    return (folder / FACTS).is_file() and _plan(folder) is not None


def _damage(folder: Path) -> str | None:
    """Say which file of a part is not as it was written; None where all are."""
    expected = (read_object(folder / FACTS) or {}).get(CHECKSUMS)
    return find_damage(folder, expected if isinstance(expected, dict) else None)


def _is_whole(block: Path) -> bool:
    """Whether the block of an earlier start is there: it was renamed when it was whole."""
    try:
        return len(open_vectors(block)) > 0
    except FAULTS:
        return False
