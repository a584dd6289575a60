"""The manifest: one table of images, their species, and what each is used for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from conspecific.data.labels import label_text, one_spelling
from conspecific.data.listing import LeftOut
from conspecific.errors import DataError, name_some
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
    empty: species folders without an image.
    left_out: files of the root folder that are not in the table, by kind.
    notes: sentences on how the images were read, where that may not be what was meant.
    own_links: whether symbolic links may lead out of the root folder, because its owner made them, and not the author
        of a table.
    """

    root: Path
    table: pl.DataFrame
    species: tuple[str, ...]
    labels: IntArray
    empty: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    own_links: bool = False

    @classmethod
    def from_table(
        cls,
        root: Path,
        table: pl.DataFrame,
        empty: tuple[str, ...] = (),
        left_out: tuple[LeftOut, ...] = (),
        notes: tuple[str, ...] = (),
        own_links: bool = False,
    ) -> Self:
        """Build from a table with the columns path and label, and optionally split and role.

        Empty text and NaN count as null, and each species gets one spelling, see `labels.one_spelling`.
        `check.check_manifest` checks that the images exist and can be read.

        Raises DataError for missing columns, columns that are not text or numbers, an empty table, and null paths or
        labels.
        """
        table = _with_columns(table)
        if table.is_empty():
            raise DataError(f"no images under {root}: the manifest is empty. {_left_out(left_out, empty)}".rstrip())
        label, respelt = one_spelling(table["label"])
        table = table.with_columns(label.replace("", None))
        _require_filled(table)
        species = tuple(sorted(table["label"].unique()))
        numbers = table["label"].replace_strict(list(species), list(range(len(species))), return_dtype=pl.Int64)
        return cls(root, table, species, numbers.to_numpy(), empty, left_out, (*notes, *respelt), own_links)

    def __len__(self) -> int:
        return self.table.height

    def path(self, sample_id: int) -> Path:
        """Return the path of the image with this sample id."""
        return self.root / str(self.table["path"][sample_id])

    def describe_left_out(self) -> str:
        """Return a sentence on the files and species folders that are left out; empty if there are none."""
        return _left_out(self.left_out, self.empty)

    def fingerprint(self) -> str:
        """Return a hash of every path, label, split and role, and of each file's size and time of modification.

        Caches take two manifests with the same fingerprint for the same images. Raises OSError for a missing file.
        """
        digest = hashlib.sha256()
        for row in self.table.iter_rows():
            stat = (self.root / row[0]).stat()
            digest.update(repr((row, stat.st_size, stat.st_mtime_ns)).encode())
        return digest.hexdigest()[:16]


def _with_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of a manifest as text, with null for empty text and for optional columns that are missing."""
    missing = [name for name in ("path", "label") if name not in table.columns]
    if missing:
        found = ", ".join(table.columns)
        raise DataError(f"a manifest needs the columns path and label; missing: {', '.join(missing)} (found: {found})")
    optional = [pl.lit(None, pl.String).alias(name) for name in ("split", "role") if name not in table.columns]
    try:
        table = table.with_columns(label_text(table["label"]), *optional)
        return table.select(pl.col(COLUMNS).cast(pl.String).replace("", None))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a manifest's columns hold text; {str(error).splitlines()[0]}") from error


def _require_filled(table: pl.DataFrame) -> None:
    nulls = {name: np.flatnonzero(table[name].is_null().to_numpy()) + 1 for name in ("path", "label")}
    unfilled = [
        f"{rows.size} manifest rows have no {name}, first rows {rows[:5].tolist()}"
        for name, rows in nulls.items()
        if rows.size
    ]
    if unfilled:
        raise DataError("; ".join(unfilled))


def _left_out(files: tuple[LeftOut, ...], empty: tuple[str, ...]) -> str:
    sentences = []
    if files:
        count = sum(each.count for each in files)
        sentences.append(f"{count} file{'s' * (count > 1)} left out: {', '.join(map(str, files))}.")
    if empty:
        sentences.append(f"{len(empty)} species folder{'s' * (len(empty) > 1)} without images: {name_some(empty)}.")
    return " ".join(sentences)
