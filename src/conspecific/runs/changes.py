"""Change an index: remove and add images, or bring it up to date with its folder. Imported without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from rich.console import Console

from conspecific.config.schema import IndexConfig
from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError, name_some
from conspecific.images import file_of, image_hash
from conspecific.index import Index
from conspecific.index.flip import flip_averaged
from conspecific.index.folder import is_index
from conspecific.runs.answers import find_queries
from conspecific.runs.directory import RunDirectory
from conspecific.types import FloatArray, IntArray

if TYPE_CHECKING:
    from conspecific.runs.open import OpenRun


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed: numbers of images. encoded: of new and changed ones, those that no image equalled.

    how: a sentence on how images were removed; empty where none were.
    """

    new: int
    changed: int
    gone: int
    relabelled: int
    encoded: int
    how: str


def change_index(config: IndexConfig, console: Console) -> tuple[Path, Index, Changes]:
    """Remove the images `config.remove` and add `config.add`, or with refresh do what the folder of the index asks for.

    Only images with new content are encoded; the network is opened where there is any to add. config.run: an index, or
    a run that has one.
    Raises RunError for an index that is damaged or belongs to other weights than its run has, and DataError for images
    that cannot be read, are not below the folder of the index, or are not in the index.
    """
    folder = Path(str(config.run)).expanduser()
    folder = folder if is_index(folder) else RunDirectory(folder).index
    cache = Path(config.paths.cache).expanduser()
    index = Index.open(folder, cache=cache, say=partial(console.print, soft_wrap=True, highlight=False))
    leaving = find_ids(index, config.remove)
    if config.refresh or config.add:
        from conspecific.runs.gallery import open_for

        opened = open_for(index, folder, config)
        if config.refresh:
            manifest, _ = opened.checked(console, scored=False)
            leaving = index.images.join(manifest.table, on="path", how="anti")["id"].to_numpy()
        else:
            manifest, _ = check_manifest(_named(opened.manifest(), config.add), cache, scored=False)
        changes = _take(index, opened, manifest, leaving, console)
    else:
        changes = Changes(0, 0, len(leaving), 0, 0, index.remove(leaving))
    index.save(folder, cache=cache)
    return folder, index, changes


def find_ids(index: Index, wanted: Sequence[str]) -> IntArray:
    """Return the ids of images, ascending, of which each is named by its id, its path, or a folder above it.

    A path is relative to the folder of the index, or that of a file; the file need not be there any more. Without a box
    it names all boxes of its image.
    Raises DataError for what the index does not have.
    """
    paths, ids, found, unknown = index.images["path"], index.images["id"].to_numpy(), set(), []
    files = pl.Series(map(file_of, paths), dtype=pl.String)
    for name in wanted:
        rows = ids == int(name) if name.isdecimal() else np.zeros(len(ids), np.bool_)
        for path in (Path(name).as_posix(), _below(Path(name), Path(index.stored.root))):
            if path is not None and not rows.any():
                rows = ((paths == path) | (files == path) | paths.str.starts_with(f"{path}/")).to_numpy()
        found.update(ids[rows].tolist())
        unknown += [] if rows.any() else [name]
    if unknown:
        raise DataError(
            f"the index has no image {name_some(unknown)}: give ids, or paths below {index.stored.root}, its folder"
        )
    return np.array(sorted(found), np.int64)


def _named(manifest: Manifest, places: Sequence[str]) -> Manifest:
    """Return those images of the listed folder of an index that are named, or are below a folder that is."""
    files = find_queries(places)
    inside = [_below(file, manifest.root) for file in files]
    if outside := [str(file) for file, path in zip(files, inside, strict=True) if path is None]:
        raise DataError(
            f"{name_some(outside)}: not below {manifest.root}, the folder of the index: copy it there, or say where "
            "that folder is now, data.root=FOLDER"
        )
    named = set(inside)
    listed = [path for path in manifest.table["path"] if path in named or file_of(path) in named]
    known = {*listed, *map(file_of, listed)}
    if missing := [path for path in inside if path is not None and path not in known]:
        raise DataError(f"{name_some(missing)}: not among the images that this index is made of, in {manifest.root}")
    return manifest.only(listed)


def _below(path: Path, root: Path) -> str | None:
    """Return a path relative to a folder; None where it is not below it. Links above the file are followed."""
    path = path.expanduser().absolute()
    for above, folder in ((path.parent, root.absolute()), (path.parent.resolve(), root.resolve())):
        if above.is_relative_to(folder):
            return (above.relative_to(folder) / path.name).as_posix()
    return None


def _take(index: Index, opened: "OpenRun", manifest: Manifest, gone: IntArray, console: Console) -> Changes:
    """Take the images of a manifest into an index where they are new or changed, and remove others by their ids."""
    now = manifest.table.select("path", "label").with_columns(
        content=pl.Series(hash_contents(manifest), dtype=pl.String)
    )
    both = now.join(index.images, on="path", how="left", suffix="_before", maintain_order="left")
    if twice := both.filter(pl.col("id").is_in(gone.tolist()))["path"].to_list():
        raise DataError(f"{name_some(twice)}: to be added and removed: leave out one")
    same = (pl.col("content") == pl.col("content_before")).fill_null(False)
    relabelled = both.filter(same, pl.col("label").ne_missing(pl.col("label_before")))
    entering = both.with_row_index("place").filter(~same)
    changed = entering.filter(pl.col("id").is_not_null())
    leaving = np.concatenate([gone, changed["id"].to_numpy()])
    if len(leaving) == len(index):
        raise DataError(f"none of the {len(index)} images of the index is left in {manifest.root}: make it again")
    vectors, encoded = _vectors(index, opened, manifest, entering, console)
    index.relabel(dict(relabelled.select("id", "label").iter_rows()))
    how = index.remove(leaving) if len(leaving) else ""
    if entering.height:
        index.add(vectors, *(entering[name].to_list() for name in ("path", "label", "content")))
    return Changes(entering.height - changed.height, changed.height, len(gone), relabelled.height, encoded, how)


def _vectors(
    index: Index, opened: "OpenRun", manifest: Manifest, entering: pl.DataFrame, console: Console
) -> tuple[FloatArray, int]:
    """Return the vectors of images that enter, and how many were encoded: an equal image may be in the index."""
    row_of = {content: row for row, content in enumerate(index.images["content"]) if content is not None}
    rows = np.array([row_of.get(content, -1) for content in entering["content"]], np.int64)
    vectors = np.array(index.vectors[np.maximum(rows, 0)])
    places: IntArray = entering["place"].cast(pl.Int64).to_numpy()[rows < 0]
    if places.size:
        found = opened.embed_images(opened.embedder, manifest, places, console)
        if index.flip:
            mirrored = opened.embed_images(opened.embedder, manifest, places, console, mirrored=True)
            found = flip_averaged(found, mirrored, opened.embedder.metric)
        vectors[rows < 0] = found.vectors
    return vectors, int(places.size)


def hash_contents(manifest: Manifest) -> list[str]:
    """Return the content hash of each image of a manifest."""
    return [image_hash(manifest.path(sample_id)) for sample_id in range(len(manifest))]
