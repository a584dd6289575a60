"""Embeddings on disk: vectors.npy, images.parquet and facts.json in one folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from conspecific.cached import checksums, find_damage
from conspecific.config.choices import VectorStore
from conspecific.data.manifest import Manifest
from conspecific.errors import RunError
from conspecific.files import refuse_other_content, write_json, write_whole_folder
from conspecific.parquet import read_parquet
from conspecific.reading import open_vectors, read_object
from conspecific.types import EmbeddingSet

FILES = VECTORS, IMAGES, FACTS = "vectors.npy", "images.parquet", "facts.json"
CHECKSUMS = "checksums"  # the key of facts.json with the hashes of the other files
FAULTS = (OSError, ValueError, IndexError, pl.exceptions.PolarsError)  # of files that are damaged
WEIGHTS = "weights"  # the key of facts.json that tells it from a file of that name that is not ours


def save_embeddings(
    folder: Path, embeddings: EmbeddingSet, manifest: Manifest, facts: Mapping[str, Any], *, is_cache: bool = False
) -> None:
    """Write `vectors.npy` [N, D] float32, `images.parquet` (id, path, label; row for row) and `facts.json`.

    The folder is written whole or not at all and replaces embeddings of that name. Raises RunError if a folder of that
    name holds anything else. is_cache: see `require_replaceable`.
    """
    require_replaceable(folder, is_cache=is_cache)
    table = manifest.table[embeddings.ids].select("path", "label")
    table.insert_column(0, pl.Series("id", embeddings.ids))
    with write_whole_folder(folder) as temporary:
        np.save(temporary / VECTORS, embeddings.vectors)
        table.write_parquet(temporary / IMAGES)
        write_json(temporary / FACTS, {**facts, CHECKSUMS: checksums(temporary)})


def require_replaceable(folder: Path, *, is_cache: bool = False) -> None:
    """Raise RunError if a folder of that name holds anything but embeddings and their tables in the formats of others:
    writing there would delete it. is_cache: of a name that the program chose, where damaged facts are its own too."""

    def is_own(found: Path) -> bool:
        facts = read_facts(found)
        return is_cache if facts is None else WEIGHTS in facts

    refuse_other_content(folder, "embeddings", (*FILES, *get_args(VectorStore)), is_own)


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return the facts stored with embeddings; None if they are missing or cannot be read."""
    stored = read_object(folder / FACTS)
    return None if stored is None else {name: fact for name, fact in stored.items() if name != CHECKSUMS}


def embeddings_damage(folder: Path) -> str | None:
    """Say which file of stored embeddings is not as it was written; None where all are, or nothing says how it was."""
    expected = (read_object(folder / FACTS) or {}).get(CHECKSUMS)
    return None if expected is None else find_damage(folder, expected if isinstance(expected, dict) else None)


def load_embeddings(folder: Path, manifest: Manifest) -> EmbeddingSet:
    """Read embeddings of images of `manifest`, memory-mapped. Raises RunError if they are damaged, or of others."""
    try:
        return _embeddings(folder, manifest)
    except FAULTS as error:
        told = f"{folder} does not hold usable embeddings: {_reason(error)}. Delete it to compute it again."
        raise RunError(told) from error


def load_cached_embeddings(
    folder: Path, manifest: Manifest, facts: Mapping[str, Any], say: Callable[[str], object]
) -> EmbeddingSet | None:
    """Read embeddings from a cache; None where it has none of these facts, or, after a sentence, damaged ones."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    stored = read_facts(folder)
    try:
        if stored is None:
            raise ValueError(f"{FACTS} cannot be read")
        return _embeddings(folder, manifest) if stored == facts else None
    except FAULTS as error:
        say(f"{folder} cannot be used, {_reason(error)}: it is made again.")
        return None


def _embeddings(folder: Path, manifest: Manifest) -> EmbeddingSet:
    if damage := embeddings_damage(folder):
        raise ValueError(damage)
    vectors, table = open_vectors(folder / VECTORS), read_parquet(folder / IMAGES)
    ids = table["id"].to_numpy()
    if not manifest.table["path"].gather(ids).equals(table["path"].rename("path")):
        raise ValueError("its images are not those of this data set")
    return EmbeddingSet(vectors, ids, manifest.labels[ids])


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]
