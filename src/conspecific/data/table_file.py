"""Reading a table of images as spreadsheets and other programs write it: Parquet, or CSV of any common form."""

import io
import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from conspecific.data.boxes import BOX
from conspecific.data.taxonomy import rank_columns
from conspecific.errors import DataError, name_some
from conspecific.parquet import read_parquet

SEPARATORS = (",", ";", "\t", "|")


def read_table(
    file: Path,
    image_column: str,
    label_column: str,
    group_column: str | None = None,
    ranks: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the columns of a manifest: path, label, and split, role, group, a box (see BOX) and ranks (see
    `rank_columns`) if the file has them.

    A CSV may be UTF-8 or UTF-16, separated by comma, semicolon, tab or |. Its values are kept as text, so that a
    species named 007 keeps its zeros.

    image_column, label_column, group_column: what path, label and group are called in the file.
    ranks: what ranks are called there, the lowest first; None: as they are called in RANKS.

    Raises DataError for a file that cannot be read as such a table and for missing columns.
    """
    table = read_any(file)
    group = [_column(file, table, group_column, "group_column").alias("group")] if group_column else []
    optional = ("split", "role") if group else ("split", "role", "group")
    boxes = BOX if set(BOX) <= set(table.columns) else ()
    return table.select(
        _column(file, table, image_column, "image_column").alias("path"),
        _column(file, table, label_column, "label_column").alias("label"),
        *group,
        *(pl.col(name) for name in (*optional, *boxes) if name in table.columns),
        *rank_columns(file, table, ranks),
    )


def read_any(file: Path) -> pl.DataFrame:
    """Return the columns of a Parquet or CSV file, those of a CSV as text.

    Raises DataError for a file that cannot be read as such a table.
    """
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            table = read_parquet(file)
        else:
            text = _text(file)
            table = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False, separator=_separator(text))
        return table.rename(str.strip)
    except DataError:
        raise
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        kind = file.suffix[1:] or "CSV"
        raise DataError(f"{file} cannot be read as a {kind} table: {str(error).partition(chr(10))[0]}") from error


def path_text(paths: pl.Series, file: Path) -> pl.Series:
    """Return the column of paths as text. Raises DataError where it holds anything else."""
    try:
        return paths.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file}: the column of paths holds {paths.dtype}, which is no text: {reason}") from error


def slashes(paths: pl.Series, root: Path) -> tuple[pl.Series, tuple[str, ...]]:
    """Return paths with backslashes read as slashes where only that names an existing file, and a note if any were."""
    written = [path for path in paths.drop_nulls() if "\\" in path and not os.path.exists(root / path)]
    read = {path: path.replace("\\", "/") for path in written}
    found = {path: slashed for path, slashed in read.items() if os.path.exists(root / slashed)}
    if not found:
        return paths, ()
    return paths.replace(found), (f"Backslashes in {len(found)} paths are read as slashes.",)


def _text(file: Path) -> str:
    content = file.read_bytes()
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig" if content.startswith(BOM_UTF8) else "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file} cannot be read: line {line} is not {encoding.upper().removesuffix('-SIG')} text. Save the table "
            "as UTF-8 (in a spreadsheet program: CSV UTF-8)."
        ) from error


def _separator(text: str) -> str:
    """Return the separator that the first line has most of, a comma if it has none."""
    header = text.partition("\n")[0]
    return max(SEPARATORS, key=header.count)


def _column(file: Path, table: pl.DataFrame, name: str, key: str) -> pl.Expr:
    if name not in table.columns:
        raise DataError(
            f"{file} has no column {name}, but {name_some(table.columns)}. Name the right one with data.{key}=COLUMN."
        )
    return pl.col(name)
