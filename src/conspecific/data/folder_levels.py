"""What the folders above an image say: its split, its species, the ranks above species, its group."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from conspecific.data.taxonomy import RANK
from conspecific.errors import DataError, name_some

TRAIN_FOLDERS = ("train", "training")
SPLIT_FOLDERS = {
    **dict.fromkeys(TRAIN_FOLDERS, "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What folders of splits are called, in lower case, and the split each stands for."""
SPECIES = "species"


def check_levels(levels: Sequence[str] | None) -> tuple[str, ...]:
    """Return what the folders are, the uppermost first; None: all are species.

    Raises DataError unless they are different names that end with `species`.
    """
    if levels is None:
        return (SPECIES,)
    names = (levels,) if isinstance(levels, str) else tuple(levels)
    if not names or names[-1] != SPECIES or len(set(names)) < len(names) or not all(names):
        raise DataError(
            f"data.levels=[{','.join(names)}] must name the folders from the uppermost down to those of the species, "
            "as [family,genus,species]"
        )
    return names


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, hidden ones left out."""
    return [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def empty_folders(base: Path, placed: Sequence[Path], first: int, level: int) -> tuple[str, ...]:
    """Return the species folders that hold no image, by their names below the splits, sorted.

    placed: images in species folders, relative to `base`. first, level: of the uppermost rank, and of the species.
    """
    found = [Path()]
    for _ in range(level + 1):
        found = [folder / name for folder in found for name in folders_in(base / folder)]
    filled = {"/".join(path.parts[first : level + 1]) for path in placed}
    return tuple(sorted({"/".join(folder.parts[first:]) for folder in found} - filled))


def are_splits(images: Sequence[Path]) -> bool:
    """Return whether the folders that hold images are named like splits, train among them, and hold folders in turn."""
    tops = {path.parts[0].lower() for path in images if len(path.parts) > 1}
    in_train = {path.parts[1] for path in images if len(path.parts) > 2 and path.parts[0].lower() in TRAIN_FOLDERS}
    return tops <= SPLIT_FOLDERS.keys() and bool(in_train)


def table_of_folders(images: Sequence[Path], names: Sequence[str], first: int) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return columns path, label, split and those of the ranks above species, the lowest first, and notes.

    images: paths relative to the root, each below a species folder. names: what the folders from level `first` on are,
    the last one the species. Folders of two species can have one name, as those of epithets do; see `_full_names`.
    """
    level = first + len(names) - 1
    rows = [
        (path.as_posix(), path.parts[level], SPLIT_FOLDERS[path.parts[0].lower()] if first else None) for path in images
    ]
    table = pl.DataFrame(rows, schema=dict.fromkeys(("path", "label", "split"), pl.String), orient="row")
    ranks = [
        pl.Series(f"{RANK}{names[at - first]}", [path.parts[at] for path in images], pl.String)
        for at in range(level - 1, first - 1, -1)
    ]
    return _full_names(table.with_columns(ranks), ranks[0].name) if ranks else (table, ())


def _full_names(table: pl.DataFrame, above: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Put the taxon above before the names of species that are one word, if any of them has more than one taxon above.

    Folders of epithets are the usual case: major in Parus and in Dendrocopos are Parus major and Dendrocopos major.
    """
    one_word = ~pl.col("label").str.contains(r"[\s_]")
    pairs = table.filter(one_word).select(pl.col("label", above).str.to_lowercase()).unique()
    twice = sorted(pairs.group_by("label").len().filter(pl.col("len") > 1)["label"])
    if not twice:
        return table, ()
    full = pl.concat_str(above, "label", separator=" ")
    rank = above.removeprefix(RANK)
    note = (
        f"Species folders in more than one {rank} have the name {name_some(twice)}: species are called by {rank} too."
    )
    return table.with_columns(pl.when(one_word).then(full).otherwise("label").alias("label")), (note,)


def layout_notes(images: Sequence[Path], first: int, names: Sequence[str], asked: bool) -> tuple[str, ...]:
    """Say which folders were taken for splits, or ask whether the species are one folder further down.

    first: 1 below splits. names: see `table_of_folders`. asked: whether the user named levels of folders.
    """
    if first:
        tops = sorted({path.parts[0] for path in images if len(path.parts) > 1})
        inside = "the species are the folders in them" if len(names) == 1 else f"in them are the folders of {names[0]}"
        return (f"The folders {name_some(tops)} are splits; {inside}.",)
    placed = [path for path in images if len(path.parts) > 1]
    species = {path.parts[0] for path in placed}
    below = {path.parts[:2] for path in placed}
    if asked or not species or any(len(path.parts) == 2 for path in placed) or len(below) < 2 * len(species):
        return ()
    return (
        f"The {len(species)} folders {name_some(sorted(species))} are the species, but all images are in {len(below)} "
        "folders below them. If those are the species, give data.levels=[genus,species], or data=images, which takes "
        "the folder of each image.",
    )


def folder_groups(paths: pl.Series, level: int | None, least: int) -> pl.Series:
    """Return the folder of a level that holds each image, null where it lies above. least: the first useful level.

    Raises DataError for a level below that, and for one that no image has.
    """
    if level is not None and level < least:
        raise DataError(
            f"data.group_level={level} names folders that hold whole species: groups are folders below them, of level "
            f"{least} or more"
        )
    parts = [path.split("/") for path in paths]
    found = ["/".join(each[: level + 1]) if level is not None and len(each) > level + 1 else None for each in parts]
    if level is not None and found and not any(found):
        raise DataError(f"data.group_level={level}: no image lies in a folder so far down, as {paths[0]}")
    return pl.Series("group", found, pl.String)
