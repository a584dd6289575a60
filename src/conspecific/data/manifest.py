"""The manifest: one table that says which images there are, of which species, and what each is for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from conspecific.errors import DataError
from conspecific.types import IntArray

SPLITS = ("train", "val", "test")
ROLES = ("query", "gallery")
COLUMNS = ("path", "label", "split", "role")


@dataclass(frozen=True)
class Manifest:
    """Images under one root folder. The row number is the sample id.

    table: columns path (relative to root, posix), label (species name), split (train, val, test or null),
        role (query, gallery or null).
    labels: [N] int64, species numbered densely from 0 in the order of their sorted names.
    empty: species that were announced (a folder, say) but have no image.
    """

    root: Path
    table: pl.DataFrame
    species: tuple[str, ...]
    labels: IntArray
    empty: tuple[str, ...] = ()

    @classmethod
    def from_table(cls, root: Path, table: pl.DataFrame, empty: tuple[str, ...] = ()) -> Self:
        """Build from a table with at least path and label; split and role are filled with nulls where missing.

        Empty text counts as null. Raises DataError for missing columns, columns that are not text or numbers, an empty
        table, or null paths and labels. Whether the images exist and can be read is `data.check.check_manifest`'s to
        say.
        """
        missing = [name for name in ("path", "label") if name not in table.columns]
        if missing:
            found = ", ".join(table.columns)
            raise DataError(
                f"a manifest needs the columns path and label; missing: {', '.join(missing)} (found: {found})"
            )
        optional = [pl.lit(None, pl.String).alias(name) for name in ("split", "role") if name not in table.columns]
        try:
            table = table.with_columns(optional).select(pl.col(COLUMNS).cast(pl.String).replace("", None))
        except pl.exceptions.PolarsError as error:
            raise DataError(f"a manifest's columns hold text; {str(error).splitlines()[0]}") from error
        if table.is_empty():
            raise DataError(f"no images under {root}: the manifest is empty")
        nulls = {name: np.flatnonzero(table[name].is_null().to_numpy()) + 1 for name in ("path", "label")}
        unfilled = [
            f"{rows.size} manifest rows have no {name}, first rows {rows[:5].tolist()}"
            for name, rows in nulls.items()
            if rows.size
        ]
        if unfilled:
            raise DataError("; ".join(unfilled))
        species = tuple(sorted(table["label"].unique()))
        labels = (
            table["label"].replace_strict(list(species), list(range(len(species))), return_dtype=pl.Int64).to_numpy()
        )
        return cls(root, table, species, labels, empty)

    def __len__(self) -> int:
        return self.table.height

    def path(self, sample_id: int) -> Path:
        """Where the image with this sample id lies."""
        return self.root / str(self.table["path"][sample_id])

    def fingerprint(self) -> str:
        """Return a hash of every path, label, split and role, and of each file's size and time of change.

        Two manifests with one fingerprint hold the same images for all purposes of caching.
        """
        digest = hashlib.sha256()
        for row in self.table.iter_rows():
            stat = (self.root / row[0]).stat()
            digest.update(repr((row, stat.st_size, stat.st_mtime_ns)).encode())
        return digest.hexdigest()[:16]
