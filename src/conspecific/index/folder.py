"""The folder of an index: its format, written whole and checked before anything in it is used.

index.json      what the index is, see `Stored`, and the size and SHA-256 of every other file
images.parquet  a row an image: id, path, label, content
vectors.npy     [N, D] float32, row for row
index.faiss     the structure, where the kind has one
within.npy      [D, D] float32, covariance of embeddings within species, where the run has it
encoder.*       the network from images to embeddings, where it was written: .onnx, or .xml and .bin
seal            of index.json, by the machine that wrote it
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from shutil import copyfile
from typing import Any, get_args

import numpy as np
import polars as pl

from conspecific.errors import RunError
from conspecific.files import refuse_other_content, sha256_of, write_checked_json, write_text, write_whole_folder
from conspecific.index.kinds import KINDS, Kind
from conspecific.index.seal import is_sealed, seal
from conspecific.parquet import read_parquet
from conspecific.reading import MOST_JSON, open_vectors, parse_json, read_bounded, read_object
from conspecific.types import FloatArray, Similarity

SCHEMA_VERSION = 1  # raise it when a file of the folder changes its meaning
FACTS, IMAGES, VECTORS, STRUCTURE, SEAL = "index.json", "images.parquet", "vectors.npy", "index.faiss", "seal"
WITHIN = "within.npy"
ENCODER = ("encoder.onnx", "encoder.xml", "encoder.bin")  # files of the network, of which an index has some or none
COLUMNS = {"id": pl.Int64, "path": pl.String, "label": pl.String, "content": pl.String}


@dataclass(frozen=True)
class Stored:
    """What index.json says.

    kind, similarity: of the index. images, dimensions: N and D. next_id: the id of the next image that is added.
    encoder: what the embeddings depend on: `weights`, a SHA-256, `image_size`, and what else changes them, such as
        `flip`; empty where that is not known. source: how the embeddings are computed again: run or weights, model,
        data.
    root: the folder that paths are relative to. threshold: the `score` that a share `kept` of the validation queries
        reach; empty where there is none.
    """

    kind: Kind
    similarity: Similarity
    images: int
    dimensions: int
    next_id: int
    encoder: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    threshold: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """The files of an index, checked. sealed: whether this machine wrote them. within: see `Index`."""

    folder: Path
    stored: Stored
    images: pl.DataFrame
    vectors: FloatArray
    sealed: bool
    within: FloatArray | None = None

    @property
    def encoder(self) -> tuple[Path, ...]:
        """The files of the network; none where there is none, or it comes from elsewhere."""
        return tuple(file for name in ENCODER if self.sealed and (file := self.folder / name).is_file())


def is_index(folder: Path) -> bool:
    """Whether a folder holds an index."""
    return (folder / FACTS).is_file()


def require_replaceable(folder: Path) -> None:
    """Raise RunError if a folder of that name holds anything but an index: writing there would delete it."""
    own = FACTS, IMAGES, VECTORS, STRUCTURE, WITHIN, *ENCODER, SEAL
    refuse_other_content(folder, "those of an index", own, _has_facts)


def _has_facts(folder: Path) -> bool:
    """Whether index.json of a folder says that it is that of an index, of whatever version and however damaged."""
    facts = read_object(folder / FACTS)
    return facts is not None and {"schema_version", "files"} <= facts.keys()


def write_folder(
    folder: Path,
    stored: Stored,
    images: pl.DataFrame,
    vectors: FloatArray,
    write_structure: Callable[[Path], None] | None,
    encoder: Sequence[Path],
    cache: Path,
    within: FloatArray | None = None,
) -> None:
    """Write an index, whole or not at all, in place of an index of that name.

    encoder: the files of the network, which are copied. cache: the folder of this machine's key. within: see `Index`.
    Raises RunError if a folder of that name holds anything else.
    """
    require_replaceable(folder)
    with write_whole_folder(folder) as temporary:
        images.select(list(COLUMNS)).write_parquet(temporary / IMAGES)
        np.save(temporary / VECTORS, vectors)
        if within is not None:
            np.save(temporary / WITHIN, within)
        if write_structure is not None:
            write_structure(temporary / STRUCTURE)
        for file in encoder:
            copyfile(file, temporary / file.name)
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in temporary.iterdir()}
        write_checked_json(temporary / FACTS, {"schema_version": SCHEMA_VERSION, **asdict(stored), "files": files})
        write_text(temporary / SEAL, seal((temporary / FACTS).read_bytes(), cache))


def read_folder(folder: Path, cache: Path) -> Contents:
    """Check and read an index. Raises RunError where anything is missing, truncated or changed, or of another version.

    Vectors are memory-mapped. Neither the structure nor the encoder is read; `Contents.sealed` says whether they may.
    """
    if not is_index(folder):
        raise RunError(
            f"{folder} is not an index: it has no {FACTS}. Make one with conspecific index RUN output=FOLDER"
        )
    try:
        content = read_bounded(folder / FACTS, MOST_JSON)
        facts = parse_json(content)
        stored = _stored(folder, facts)
        _check_files(folder, facts["files"])
        images = _images(read_parquet(folder / IMAGES), stored)
        vectors = open_vectors(folder / VECTORS)
        if vectors.shape != (stored.images, stored.dimensions):
            raise ValueError(f"{VECTORS} holds vectors of shape {vectors.shape}")
        within = _within(folder, stored)
        given = read_bounded(folder / SEAL, MOST_JSON).decode() if (folder / SEAL).is_file() else ""
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{folder} is damaged: {reason}. Make the index again with conspecific index RUN") from error
    return Contents(folder, stored, images, vectors, is_sealed(content, given, cache), within)


def _stored(folder: Path, facts: Mapping[str, Any]) -> Stored:
    if (found := facts.get("schema_version")) != SCHEMA_VERSION:
        raise RunError(
            f"{folder} is an index of version {found}; this conspecific reads version {SCHEMA_VERSION}. Make it again "
            "with conspecific index RUN"
        )
    stored = Stored(**{each.name: facts[each.name] for each in fields(Stored)})
    if stored.kind not in KINDS or stored.similarity not in get_args(Similarity):
        raise ValueError(f"{FACTS} names kind {stored.kind!r} and similarity {stored.similarity!r}")
    counts = stored.images, stored.dimensions, stored.next_id
    if not all(isinstance(count, int) and count > 0 for count in counts):
        raise ValueError(f"{FACTS} counts {counts}")
    if not all(isinstance(each, dict) for each in (stored.encoder, stored.source, stored.threshold)):
        raise ValueError(f"{FACTS} holds something else than mappings")
    if not all(isinstance(value, int | float) for value in stored.threshold.values()) or not isinstance(
        stored.root, str
    ):
        raise ValueError(f"{FACTS} holds something else than a threshold or a root")
    return stored


def _check_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ValueError unless the folder's files are those that index.json lists, byte for byte."""
    found = {path.name for path in folder.iterdir()} - {FACTS, SEAL}
    if not {IMAGES, VECTORS} <= files.keys() <= {IMAGES, VECTORS, STRUCTURE, WITHIN, *ENCODER}:
        raise ValueError(f"{FACTS} lists the files {', '.join(sorted(files))}")
    if found != files.keys():
        odd = ", ".join(sorted(found ^ files.keys()))
        raise ValueError(f"{odd} {'is' if len(found ^ files.keys()) == 1 else 'are'} missing or not listed in {FACTS}")
    for name, facts in files.items():
        size = (folder / name).stat().st_size
        if size != facts["bytes"]:
            raise ValueError(f"{name} has {size:,} bytes and should have {facts['bytes']:,}")
    with ThreadPoolExecutor() as threads:  # hashing leaves the interpreter to the others
        sums = dict(zip(files, threads.map(sha256_of, [folder / name for name in files]), strict=True))
    for name, facts in files.items():
        if sums[name] != facts["sha256"]:
            raise ValueError(f"{name} was changed: its checksum differs")


def _within(folder: Path, stored: Stored) -> FloatArray | None:
    """Return the covariance within species, memory-mapped; None where the index was made without."""
    if not (folder / WITHIN).is_file():
        return None
    found = open_vectors(folder / WITHIN)
    if found.shape != (stored.dimensions, stored.dimensions) or not np.isfinite(found).all():
        raise ValueError(f"{WITHIN} holds {found.shape} values, or some that are not finite")
    return found


def _images(table: pl.DataFrame, stored: Stored) -> pl.DataFrame:
    if dict(table.schema) != COLUMNS or table.height != stored.images:
        raise ValueError(f"{IMAGES} holds {table.height} rows of {', '.join(table.columns)}")
    ids = table["id"].to_numpy()
    if not (ids[0] >= 0 and (np.diff(ids) > 0).all() and ids[-1] < stored.next_id):
        raise ValueError(f"the ids in {IMAGES} do not ascend from 0 to below {stored.next_id}")
    outside = table["path"].filter(table["path"].str.contains(r"^/|(^|/)\.\.(/|$)").fill_null(True))
    if len(outside):
        raise ValueError(f"{len(outside)} paths in {IMAGES} lead out of the root folder, first {outside[0]}")
    return table
