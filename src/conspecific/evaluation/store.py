"""Embeddings on disk: vectors.npy, images.parquet and facts.json in one folder."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import DTypeLike

from conspecific.data.manifest import Manifest
from conspecific.errors import RunError
from conspecific.types import EmbeddingSet


def save_embeddings(folder: Path, embeddings: EmbeddingSet, manifest: Manifest, facts: Mapping[str, Any]) -> None:
    """Write `vectors.npy` [N, D] float32, `images.parquet` (id, path, label; row for row) and `facts.json`.

    The folder appears whole or not at all and replaces embeddings of the same name. Raises RunError when there is a
    folder of that name with anything else in it.
    """
    refuse_other_content(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "vectors.npy", embeddings.vectors)
    table = manifest.table[embeddings.ids].select("path", "label")
    table.insert_column(0, pl.Series("id", embeddings.ids)).write_parquet(partial / "images.parquet")
    (partial / "facts.json").write_text(json.dumps(dict(facts), indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def refuse_other_content(folder: Path) -> None:
    """Raise RunError when a folder of that name holds anything but embeddings, which writing there would lose."""
    if folder.exists() and any(folder.iterdir()) and read_facts(folder) is None:
        raise RunError(f"{folder} holds other things than embeddings, which would be lost. Name another folder.")


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return the facts stored with embeddings, None where there are none that can be read."""
    try:
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    except (OSError, ValueError):
        return None
    return facts


def load_embeddings(folder: Path, manifest: Manifest) -> EmbeddingSet:
    """Read embeddings of images of `manifest`, memory-mapped. Raises RunError when they are of something else."""
    try:
        vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        table = pl.read_parquet(folder / "images.parquet")
        ids = table["id"].to_numpy()
        if not manifest.table["path"].gather(ids).equals(table["path"].rename("path")):
            raise ValueError("its images are not those of this data set")
        return EmbeddingSet(vectors, ids, manifest.labels[ids])
    except (OSError, ValueError, IndexError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{folder} does not hold usable embeddings: {reason}. Delete it to have it made again."
        ) from error


def usable_bytes(folder: Path) -> int:
    """How much an array on the disk of `folder` may take: half of what is free there, for others write too."""
    return shutil.disk_usage(folder).free // 2


def unnamed_file(folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap[Any, Any]:
    """Return an array on the disk of `folder` that goes with the last reference to it, or with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="conspecific-", suffix=".array", dir=folder) as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
