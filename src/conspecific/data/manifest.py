"""The manifest: one table of images, their species, and what each is used for."""

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self, get_args

import numpy as np
import polars as pl
from PIL import Image

from conspecific.config.choices import BadImages
from conspecific.data.labels import label_text, one_spelling
from conspecific.data.listing import LeftOut
from conspecific.data.taxonomy import Taxa, read_taxa
from conspecific.errors import DataError, name_some
from conspecific.images import MAX_PIXELS, file_of, open_rgb
from conspecific.types import IntArray

SPLITS = ("train", "val", "test")
ROLES = ("query", "gallery")
COLUMNS = ("path", "label", "split", "role", "group")


@dataclass(frozen=True, slots=True)
class Reading:
    """How image files are read.

    on_bad: what an image that cannot be read does: `error` stops, `skip` leaves it out. max_bad_share: the share of all
    images, from 0 to 1, that may be left out. max_pixels: width times height, as decoded, above which an image is
    refused. Raises DataError for values out of range.
    """

    on_bad: str = "error"
    max_bad_share: float = 0.01
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.on_bad not in (known := get_args(BadImages)):
            raise DataError(f"data.on_bad={self.on_bad} is unknown. Known here: {', '.join(known)}.")
        if not 0 <= self.max_bad_share <= 1:
            raise DataError(f"data.max_bad_share is a share, from 0 to 1; found {self.max_bad_share}")
        if self.max_pixels < 1:
            raise DataError(f"data.max_pixels must be 1 or more; found {self.max_pixels}")


@dataclass(frozen=True)
class Manifest:
    """Images under one root folder. The row number is the sample id.

    table: columns path (relative to root, posix; it may end in a box, see `images.Region`), label (species name; null
        for a distractor, or for all images if species are not known), split (train, val, test or null), role (query,
        gallery or null), group (what several images of one occasion have in common, as a burst, a visit or an
        individual; null: the image is by itself).
    species: their sorted names; a single empty one if species are not known.
    labels: [N] int64, species numbered densely from 0 in the order of `species`; -1 for a distractor.
    empty: species folders without an image.
    left_out: files of the root folder that are not in the table, by kind.
    notes: sentences on how the images were read, where that may not be what was meant.
    own_links: whether symbolic links may lead out of the root folder, because its owner made them, and not the author
        of a table.
    reading: how the files are read. unreadable: "path (reason)" of each image that `on_bad=skip` left out.
    min_images: of a species. few: the species that were left out because they had fewer.
    corrections: what corrections changed; empty where there were none.
    taxa: rank above species, as genus, the lowest first -> species -> taxon; empty where none are known.
    """

    root: Path
    table: pl.DataFrame
    species: tuple[str, ...]
    labels: IntArray
    empty: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    own_links: bool = False
    reading: Reading = Reading()
    unreadable: tuple[str, ...] = ()
    min_images: int = 1
    few: tuple[str, ...] = ()
    corrections: str = ""
    taxa: Taxa = field(default_factory=dict)

    @classmethod
    def from_table(
        cls,
        root: Path,
        table: pl.DataFrame,
        empty: tuple[str, ...] = (),
        left_out: tuple[LeftOut, ...] = (),
        notes: tuple[str, ...] = (),
        own_links: bool = False,
        reading: Reading = Reading(),
        labelled: bool = True,
        min_images: int = 1,
    ) -> Self:
        """Build from a table with the columns path and label, and optionally split, role, group and ranks.

        Empty text and NaN count as null, and each species gets one spelling, see `labels.one_spelling`. An image
        without a label is a distractor where others have one. labelled: False where the labels are no species; they are
        dropped. min_images: species with fewer are left out.
        `check.check_manifest` checks that the images exist and can be read. Ranks: see `taxonomy.read_taxa`.

        Raises DataError for missing columns, columns that are not text or numbers, an empty table, and null paths.
        """
        given, table = table, _with_columns(table)
        if table.is_empty():
            raise DataError(f"no images under {root}: the manifest is empty. {_left_out(left_out, empty)}".rstrip())
        label, respelt = one_spelling(table["label"])
        table = table.with_columns(label.replace("", None))
        _require_filled(table)
        if not labelled:
            table = table.with_columns(pl.lit(None, pl.String).alias("label"))
        taxa, told = read_taxa(given, table["label"])
        notes = (*notes, *respelt, *told)
        found = cls(root, table, *_numbered(table), empty, left_out, notes, own_links, reading, taxa=taxa)
        return found._without_few(min_images) if found.labelled else found

    def __len__(self) -> int:
        return self.table.height

    def path(self, sample_id: int) -> Path:
        """Return the path of the image with this sample id, with its box where it has one."""
        return self.root / str(self.table["path"][sample_id])

    @cached_property
    def groups(self) -> IntArray:
        """The number of each image's group, [N] int64 from 0; an image by itself has a number of its own."""
        own = pl.concat_str(pl.lit("\0"), pl.col("path"))  # no group is called so
        found: IntArray = self.table.select(pl.col("group").fill_null(own).rank("dense") - 1).to_series().to_numpy()
        return found.astype(np.int64)

    @property
    def grouped(self) -> bool:
        """Whether images have groups."""
        return self.table["group"].null_count() < len(self)

    @property
    def labelled(self) -> bool:
        """Whether species are known."""
        return self.species != ("",)

    @cached_property
    def distractors(self) -> IntArray:
        """The sample ids of images without a label among others that have one."""
        return np.flatnonzero(self.labels < 0)

    def open_rgb(self, sample_id: int, shorter_side: int | None = None) -> Image.Image:
        """Decode an image as `images.open_rgb` does, within the limit of this manifest."""
        return open_rgb(self.path(sample_id), shorter_side, self.reading.max_pixels)

    def without(self, reasons: Mapping[str, str]) -> "Manifest":
        """Return the manifest without some images, path -> why; a species that had no other image is in `empty`.

        Raises DataError if no image remains.
        """
        table = self.table.filter(~pl.col("path").is_in(list(reasons)))
        if table.is_empty():
            raise DataError(f"none of {len(self)} images under {self.root} can be read")
        species, labels = _numbered(table)
        empty = (*self.empty, *sorted(set(self.species) - set(species)))
        unreadable = (*self.unreadable, *(f"{path} ({reason})" for path, reason in reasons.items()))
        found = replace(self, table=table, species=species, labels=labels, empty=empty, unreadable=unreadable)
        return found._without_few(self.min_images)

    def _without_few(self, fewest: int) -> Self:
        """Return the manifest without species of fewer images. Raises DataError if no image remains."""
        if fewest < 1:
            raise DataError(f"data.min_images must be 1 or more; found {fewest}")
        counts = self._images_of_species()
        few = [name for name, count in zip(self.species, counts, strict=True) if count < fewest]
        if not few:
            return replace(self, min_images=fewest)
        if len(few) == len(self.species):
            raise DataError(
                f"no species has data.min_images={fewest} images: the largest of {len(few)} has {counts.max()}"
            )
        table = self.table.filter(~pl.col("label").is_in(few).fill_null(False))
        species, labels = _numbered(table)
        found = (*self.few, *few)
        return replace(self, table=table, species=species, labels=labels, min_images=fewest, few=found)

    def _images_of_species(self) -> IntArray:
        return np.bincount(self.labels[self.labels >= 0])

    def corrected(self, table: pl.DataFrame, told: str, min_images: int) -> "Manifest":
        """Return the manifest with the rows of another table of the same images. told: what was changed.

        Raises DataError if no image remains.
        """
        if table.is_empty():
            raise DataError(f"the corrections leave none of {len(self)} images under {self.root}")
        label, respelt = one_spelling(table["label"])
        table, notes = table.with_columns(label), (*self.notes, *respelt)
        species, labels = _numbered(table)
        found = replace(self, table=table, species=species, labels=labels, notes=notes, corrections=told)
        return found._without_few(min_images)

    def only(self, paths: Collection[str]) -> "Manifest":
        """Return the manifest of some of its images, by their paths."""
        table = self.table.filter(pl.col("path").is_in(list(paths)))
        species, labels = _numbered(table)
        return replace(self, table=table, species=species, labels=labels)

    def describe(self) -> list[str]:
        """Return lines on what was found: images and species, how they were read, and what is left out."""
        species = f" of {len(self.species):,} species" if self.labelled else ""
        unknown = "" if self.labelled else ", species not known: no folder of its own for each"
        groups = f", {len(np.unique(self.groups)):,} groups" if self.grouped else ""
        groups += "".join(f", {len(set(taxa.values())):,} of rank {rank}" for rank, taxa in self.taxa.items())
        files = len({file_of(path) for path in self.table["path"]})
        images = f"{len(self):,} images" if files == len(self) else f"{len(self):,} boxes in {files:,} images"
        found = f"Data: {images}{species}{groups} in {self.root}{unknown}"
        corrected = f"Corrections: {self.corrections}" if self.corrections else ""
        more = corrected, self.describe_lone(), self.describe_distractors(), self.describe_left_out()
        return [line for line in (found, *self.notes, *more) if line]

    def describe_lone(self) -> str:
        """Return a sentence on species with a single image; empty if there are none."""
        if not self.labelled or not (lone := np.flatnonzero(self._images_of_species() == 1)).size:
            return ""
        names = name_some([self.species[number] for number in lone])
        return (
            f"{lone.size:,} species with a single image: {names}. Nothing is left to find for it: it is trained on, or "
            "in the gallery, and not scored."
        )

    def describe_distractors(self) -> str:
        """Return a sentence on images without a label among others that have one; empty if there are none."""
        if not (count := self.distractors.size):
            return ""
        names = name_some(self.table["path"].gather(self.distractors).to_list())
        return (
            f"{count:,} {'image' if count == 1 else 'images'} without a label: {names}. A distractor is in a gallery, "
            "where it is a wrong answer; it is never a query and never trained on."
        )

    def describe_left_out(self) -> str:
        """Return sentences on images, other files and species folders that are left out; empty if there are none."""
        sentences = []
        if self.unreadable:
            one = len(self.unreadable) == 1
            count = (
                "1 image that cannot be read is" if one else f"{len(self.unreadable)} images that cannot be read are"
            )
            sentences.append(f"{count} left out: {name_some(self.unreadable)}.")
        if self.few:
            sentences.append(
                f"{len(self.few)} species with fewer than {self.min_images} images are left out: {name_some(self.few)}."
            )
        return " ".join([*sentences, _left_out(self.left_out, self.empty)]).strip()

    def fingerprint(self, leaving_out: Collection[str] = ()) -> str:
        """Return a hash of every path, label, split, role and group, of the taxa, and of each file's size and time.

        Caches take two manifests with the same fingerprint for the same images. leaving_out: paths that are not looked
        at. Raises OSError for a missing file.
        """
        digest = hashlib.sha256()
        table = self.table if self.grouped else self.table.drop("group")
        for row in table.iter_rows():
            if row[0] not in leaving_out:
                stat = os.stat(os.path.join(self.root, file_of(row[0])))  # three times as fast as by a Path
                digest.update(repr((row, stat.st_size, stat.st_mtime_ns)).encode())
        if self.taxa:
            digest.update(repr(self.taxa).encode())
        return digest.hexdigest()[:16]


def _with_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of a manifest as text, with null for empty text and for optional columns that are missing."""
    missing = [name for name in ("path", "label") if name not in table.columns]
    if missing:
        found = ", ".join(table.columns)
        raise DataError(f"a manifest needs the columns path and label; missing: {', '.join(missing)} (found: {found})")
    optional = [pl.lit(None, pl.String).alias(name) for name in COLUMNS[2:] if name not in table.columns]
    try:
        table = table.with_columns(label_text(table["label"]), *optional)
        return table.select(pl.col(COLUMNS).cast(pl.String).replace("", None))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a manifest's columns hold text; {str(error).splitlines()[0]}") from error


def _numbered(table: pl.DataFrame) -> tuple[tuple[str, ...], IntArray]:
    """Return the species of a manifest's table, and the number of each image's species."""
    if table["label"].is_null().all():  # species are not known
        return ("",), np.zeros(table.height, np.int64)
    species = sorted(table["label"].drop_nulls().unique())
    numbers = table["label"].replace_strict(species, list(range(len(species))), default=-1, return_dtype=pl.Int64)
    return tuple(species), numbers.to_numpy()


def _require_filled(table: pl.DataFrame) -> None:
    faults = {"no path": table["path"].is_null()}
    faults["a path with a NUL byte"] = table["path"].str.contains("\0", literal=True).fill_null(False)
    found = {fault: np.flatnonzero(rows.to_numpy()) + 1 for fault, rows in faults.items()}
    unfilled = [
        f"{rows.size} manifest rows have {fault}, first rows {rows[:5].tolist()}"
        for fault, rows in found.items()
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
