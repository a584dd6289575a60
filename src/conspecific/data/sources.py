"""The sources of manifests, one function each."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from conspecific.data.boxes import with_boxes
from conspecific.data.exif_groups import with_exif_groups
from conspecific.data.folder_levels import (
    are_splits,
    check_levels,
    empty_folders,
    folder_groups,
    folders_in,
    layout_notes,
    table_of_folders,
)
from conspecific.data.listing import LeftOut, existing_path, file_and_root, is_image, list_files, other_files
from conspecific.data.manifest import Manifest, Reading
from conspecific.data.table_file import path_text, read_table, slashes
from conspecific.errors import DataError
from conspecific.images import MAX_PIXELS
from conspecific.progress import progress_bar


def from_folder(
    root: str,
    on_bad: str = "error",
    max_bad_share: float = 0.01,
    max_pixels: int = MAX_PIXELS,
    levels: Sequence[str] | None = None,
    group_level: int | None = None,
    group_exif: str | None = None,
    group_minutes: float = 5.0,
    min_images: int = 1,
) -> Manifest:
    """Read an image folder: each folder in `root` is a species, with its images anywhere below it.

    If the folders in `root` are splits instead (train, val, test), the folders in them are the species, and `split`
    names the split. Hidden files are ignored, symbolic links are followed. Other files, and images beside the species
    folders, are counted in `Manifest.left_out`.

    levels: what the folders are from `root`, or from the splits, down to the species, as [family, genus, species]:
        those above species are ranks. None: they are species.
    group_level: images below one folder of this level are a group; the uppermost folders are level 0, as the species
        are where neither splits nor ranks lie above them.
    group_exif, group_minutes: see `exif_groups`. min_images: of a species, below which it is left out. on_bad,
    max_bad_share, max_pixels: see `Reading`. Raises DataError if the folder is missing or holds no species folders.
    """
    base = existing_path(root, "data.root", Path.is_dir, "a folder")
    if not folders_in(base):
        raise DataError(
            f"{base} has no folders: data=folder needs one folder per species, with its images in it. To embed or "
            "search images of unknown species, give data=images."
        )
    files = list_files(base)
    images = [path.relative_to(base) for path in files if is_image(path)]
    names = check_levels(levels)
    first = 1 if are_splits(images) else 0
    level = first + len(names) - 1  # of the species in a path
    placed = [path for path in images if len(path.parts) > level + 1]
    table, told = table_of_folders(placed, names, first)
    table = table.with_columns(folder_groups(table["path"], group_level, level + 1))
    table, exif_notes = with_exif_groups(table, base, group_exif, group_minutes)
    beside = [base / path for path in images if len(path.parts) <= level + 1]
    loose = (LeftOut.of("beside the species folders", beside, base),) if beside else ()
    notes = layout_notes(images, first, names, levels is not None or group_level is not None)
    return Manifest.from_table(
        base,
        table,
        empty=empty_folders(base, placed, first, level),
        left_out=(*loose, *other_files(files, base)),
        notes=(*notes, *told, *exif_notes),
        own_links=True,
        reading=Reading(on_bad, max_bad_share, max_pixels),
        min_images=min_images,
    )


def from_images(
    root: str,
    on_bad: str = "error",
    max_bad_share: float = 0.01,
    max_pixels: int = MAX_PIXELS,
    group_exif: str | None = None,
    group_minutes: float = 5.0,
    min_images: int = 1,
) -> Manifest:
    """Read every image below a folder; its label is the name of the folder that directly holds it.

    Species are not known if all images are in `root` itself. For embedding and for galleries.

    on_bad, max_bad_share, max_pixels: see `Reading`. group_exif, group_minutes: see `exif_groups`. min_images: of a
    species, below which it is left out. Raises DataError if there is no image.
    """
    base = existing_path(root, "data.root", Path.is_dir, "a folder")
    files = list_files(base)
    rows = [(path.relative_to(base).as_posix(), path.parent.name) for path in files if is_image(path)]
    table = pl.DataFrame(rows, schema={"path": pl.String, "label": pl.String}, orient="row")
    table, notes = with_exif_groups(table, base, group_exif, group_minutes)
    reading = Reading(on_bad, max_bad_share, max_pixels)
    labelled = any("/" in path for path, _ in rows)
    left_out = other_files(files, base)
    return Manifest.from_table(
        base,
        table,
        left_out=left_out,
        notes=notes,
        own_links=True,
        reading=reading,
        labelled=labelled,
        min_images=min_images,
    )


def from_file(
    path: str,
    root: str | None = None,
    image_column: str = "path",
    label_column: str = "label",
    on_bad: str = "error",
    max_bad_share: float = 0.01,
    max_pixels: int = MAX_PIXELS,
    group_column: str | None = None,
    group_exif: str | None = None,
    group_minutes: float = 5.0,
    min_images: int = 1,
    margin: float = 0.0,
    ranks: Sequence[str] | None = None,
) -> Manifest:
    """Read a CSV or Parquet table with one row per image: path, label, and optionally split, role, group and ranks.

    With columns x, y, width and height, a row is a box of an image, in pixels or in shares, see `with_boxes`.

    path: the table. root: the folder that image paths are relative to, by default that of the table.
    image_column, label_column, group_column: what the columns path, label and group are called in the table; null
        for the last one: `group`, where there is such a column.
    group_exif, group_minutes: see `exif_groups`. min_images: of a
    species, below which it is left out.
    margin: share of a box's width and height that is added on each side.
    ranks: columns of ranks above species, the lowest first; null: genus, family and order, where there are any.
    on_bad, max_bad_share, max_pixels: see `Reading`; a missing file counts as one that cannot be read, and so does a
    box that is not inside its image.

    Raises DataError for a missing or unreadable file, for missing columns and for boxes without a meaning.
    """
    file, base = file_and_root(path, root, "a CSV or Parquet file")
    table = read_table(file, image_column, label_column, group_column, ranks)
    paths, notes = slashes(path_text(table["path"], file), base)
    reading = Reading(on_bad, max_bad_share, max_pixels)
    table, exif_notes = with_exif_groups(table.with_columns(paths), base, group_exif, group_minutes)
    table = with_boxes(table, margin)
    return Manifest.from_table(base, table, notes=(*notes, *exif_notes), reading=reading, min_images=min_images)


def butterflies(cache: str, species: int = 100, images: int = 20, size: int = 224, seed: int = 0) -> Manifest:
    """Return the built-in synthetic set: invented species, drawn on first use and kept in `cache`."""
    from conspecific.data.butterflies import DRAWING_VERSION, write_butterflies  # other sources start without it

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
