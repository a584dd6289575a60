"""Where manifests come from: each source is one function that returns one."""

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from conspecific.data.butterflies import DRAWING_VERSION, write_butterflies
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.images import SUFFIXES
from conspecific.progress import progress_bar


def from_folder(root: str) -> Manifest:
    """One folder a species, images anywhere below it; what is hidden and other kinds of file are left out.

    Raises DataError when the folder is missing or holds no species folders.
    """
    base = _existing(root, "data.root", Path.is_dir, "a folder")
    folders = sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(f"{base} has no folders: data=folder needs one folder a species, the images inside")
    rows: list[tuple[str, str]] = []
    empty: list[str] = []
    for folder in folders:
        found = _images(folder)
        rows += [(path.relative_to(base).as_posix(), folder.name) for path in found]
        if not found:
            empty.append(folder.name)
    table = pl.DataFrame(rows, schema={"path": pl.String, "label": pl.String}, orient="row")
    return Manifest.from_table(base, table, empty=tuple(empty))


def from_images(root: str) -> Manifest:
    """Every image anywhere under a folder; its species is taken from the folder it lies in.

    For embedding and for galleries: nothing has to be known of species. Raises DataError when there is no image.
    """
    base = _existing(root, "data.root", Path.is_dir, "a folder")
    rows = [(path.relative_to(base).as_posix(), path.parent.name) for path in _images(base)]
    return Manifest.from_table(base, pl.DataFrame(rows, schema=["path", "label"], orient="row"))


def from_file(path: str, root: str | None = None) -> Manifest:
    """Read a CSV or Parquet table with columns path and label, optionally split and role.

    Paths are relative to `root`, by default the folder the file lies in. Raises DataError for a missing or unreadable
    file and for missing columns.
    """
    file = _existing(path, "data.path", Path.is_file, "a CSV or Parquet file")
    base = file.parent if root is None else _existing(root, "data.root", Path.is_dir, "a folder")
    try:
        # every column as text: a species named 007 keeps its zeros
        table = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read as a {file.suffix[1:] or 'CSV'} table: {reason}") from error
    return Manifest.from_table(base, table)


def butterflies(cache: str, species: int = 100, images: int = 20, size: int = 224, seed: int = 0) -> Manifest:
    """Return the built-in synthetic set: invented species, drawn on first use and kept under `cache`."""
    root = Path(cache).expanduser() / f"butterflies-{species}x{images}-{size}px-seed{seed}-v{DRAWING_VERSION}"
    with progress_bar() as progress:
        task = progress.add_task("Drawing butterflies", total=species * images)
        write_butterflies(
            root,
            species=species,
            images=images,
            size=size,
            seed=seed,
            progress=lambda done: progress.update(task, completed=done),
        )
    return from_folder(str(root))


def _images(folder: Path) -> list[Path]:
    """Every image below a folder, sorted. Raises DataError where a name is not UTF-8, as tables and reports are."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    strange = [path for path in shown if str(path).encode(errors="ignore") != os.fsencode(path)]
    if strange:
        raise DataError(f"{len(strange)} file names are not UTF-8, first {str(strange[0])!a}: rename them")
    return shown


def _existing(path: str, key: str, test: Callable[[Path], bool], kind: str) -> Path:
    found = Path(path).expanduser()
    if not test(found):
        raise DataError(f"{key}={path} is not {kind}. Give the path of one that exists (from {Path.cwd()}).")
    return found.resolve()
