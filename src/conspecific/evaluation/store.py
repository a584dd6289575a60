"""Embeddings on disk: vectors.npy, images.parquet and facts.json in one folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from conspecific.cached import checksums, find_damage
from conspecific.config.choices import VectorStore
from conspecific.data.manifest import Manifest
from conspecific.errors import RunError
from conspecific.files import refuse_other_content, write_json, write_whole_folder
from conspecific.types import EmbeddingSet

FILES = VECTORS, IMAGES, FACTS = "vectors.npy", "images.parquet", "facts.json"
CHECKSUMS = "checksums"  # the key of facts.json with the hashes of the other files
WEIGHTS = "weights"  # the key of facts.json that tells it from a file of that name that is not ours


def save_embeddings(folder: Path, embeddings: EmbeddingSet, manifest: Manifest, facts: Mapping[str, Any]) -> None:
    """Write `vectors.npy` [N, D] float32, `images.parquet` (id, path, label; row for row) and `facts.json`.

    The folder is written whole or not at all and replaces embeddings of that name. Raises RunError if a folder of that
    name holds anything else.
    """
    require_replaceable(folder)
    table = manifest.table[embeddings.ids].select("path", "label")
    table.insert_column(0, pl.Series("id", embeddings.ids))
    with write_whole_folder(folder) as temporary:
        np.save(temporary / VECTORS, embeddings.vectors)
        table.write_parquet(temporary / IMAGES)
        write_json(temporary / FACTS, {**facts, CHECKSUMS: checksums(temporary)})


def require_replaceable(folder: Path) -> None:
    """Raise RunError if a folder of that name holds anything but embeddings and their tables in the formats of others:
    writing there would delete it."""
    refuse_other_content(
        folder, "embeddings", (*FILES, *get_args(VectorStore)), lambda found: WEIGHTS in (read_facts(found) or {})
    )


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return the facts stored with embeddings; None if they are missing or cannot be read."""
    stored = _read(folder)
    return None if stored is None else {name: fact for name, fact in stored.items() if name != CHECKSUMS}


def embeddings_damage(folder: Path) -> str | None:
    """Say which file of stored embeddings is not as it was written; None where all are, or nothing says how it was."""
    expected = (_read(folder) or {}).get(CHECKSUMS)
    return None if expected is None else find_damage(folder, expected if isinstance(expected, dict) else None)


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def load_embeddings(folder: Path, manifest: Manifest) -> EmbeddingSet:
    """Read embeddings of images of `manifest`, memory-mapped. Raises RunError if they are damaged, or of others."""
    try:
        if damage := embeddings_damage(folder):
            raise ValueError(damage)
        vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        table = pl.read_parquet(folder / IMAGES, glob=False)
        ids = table["id"].to_numpy()
        if not manifest.table["path"].gather(ids).equals(table["path"].rename("path")):
            raise ValueError("its images are not those of this data set")
        return EmbeddingSet(vectors, ids, manifest.labels[ids])
    except (OSError, ValueError, IndexError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{folder} does not hold usable embeddings: {reason}. Delete it to compute it again.") from error
