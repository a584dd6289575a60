"""The sources of manifests, one function each."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from conspecific.data.butterflies import DRAWING_VERSION, write_butterflies
from conspecific.data.listing import LeftOut, is_image, list_files, other_files
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.progress import progress_bar


def from_folder(root: str) -> Manifest:
    """Read an image folder: each folder in `root` is a species, with its images anywhere below it.

    Hidden files are ignored, symbolic links are followed. Other files, and images beside the species folders, are
    counted in `Manifest.left_out`.
    Raises DataError if the folder is missing or holds no species folders.
    """
    base = _existing(root, "data.root", Path.is_dir, "a folder")
    folders = sorted(path.name for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(f"{base} has no folders: data=folder needs one folder per species, with its images in it")
    files = list_files(base)
    images = [path.relative_to(base) for path in files if is_image(path)]
    rows = [(path.as_posix(), path.parts[0]) for path in images if len(path.parts) > 1]
    beside = [base / path for path in images if len(path.parts) == 1]
    loose = (LeftOut.of("beside the species folders", beside, base),) if beside else ()
    table = pl.DataFrame(rows, schema={"path": pl.String, "label": pl.String}, orient="row")
    empty = tuple(sorted(set(folders) - set(table["label"])))
    left_out = (*loose, *other_files(files, base))
    return Manifest.from_table(base, table, empty=empty, left_out=left_out, own_links=True)


def from_images(root: str) -> Manifest:
    """Read every image below a folder; its label is the name of the folder that directly holds it.

    For embedding and for galleries, where species need not be known. Raises DataError if there is no image.
    """
    base = _existing(root, "data.root", Path.is_dir, "a folder")
    files = list_files(base)
    rows = [(path.relative_to(base).as_posix(), path.parent.name) for path in files if is_image(path)]
    table = pl.DataFrame(rows, schema={"path": pl.String, "label": pl.String}, orient="row")
    return Manifest.from_table(base, table, left_out=other_files(files, base), own_links=True)


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
    """Return the built-in synthetic set: invented species, drawn on first use and kept in `cache`."""
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


def _existing(path: str, key: str, test: Callable[[Path], bool], kind: str) -> Path:
    found = Path(path).expanduser()
    if not test(found):
        raise DataError(f"{key}={path} is not {kind}. Give the path of one that exists (from {Path.cwd()}).")
    return found.resolve()
