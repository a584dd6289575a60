"""Sources of boxes that detectors and annotators write: the results of MegaDetector, and COCO."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from conspecific.data.boxes import BOX, with_boxes
from conspecific.data.exif_groups import with_exif_groups
from conspecific.data.listing import existing_path, file_and_root
from conspecific.data.manifest import Manifest, Reading
from conspecific.data.table_file import read_table, slashes
from conspecific.errors import DataError, name_some
from conspecific.images import MAX_PIXELS
from conspecific.reading import parse_json, read_bounded

MOST_BYTES = 2**30  # of a JSON file: that of COCO 2017 has 0.45 GB, of a million photographs with boxes 0.3 GB


class _Box(NamedTuple):
    """A box of an image, in pixels or in shares; None where its annotation is of the whole image."""

    path: str
    label: str | None
    box: tuple[float, ...] | None


class _Found(NamedTuple):
    """What a file says. shares: whether its boxes are. left: how many of what are left out. images: in the file."""

    boxes: list[_Box]
    shares: bool
    left: Counter[str]
    images: int


def from_megadetector(
    path: str,
    root: str | None = None,
    labels: str | None = None,
    image_column: str = "path",
    label_column: str = "label",
    categories: Sequence[str] | None = ("animal",),
    confidence: float = 0.2,
    margin: float = 0.0,
    on_bad: str = "error",
    max_bad_share: float = 0.01,
    max_pixels: int = MAX_PIXELS,
    group_exif: str | None = None,
    group_minutes: float = 5.0,
    min_images: int = 1,
) -> Manifest:
    """Read the boxes of MegaDetector's results, its JSON of either kind: each is an image of the manifest.

    Videos, images that it could not read, and boxes of other categories or of less confidence are left out and counted.

    path: the file. root: the folder that its image paths are relative to, by default that of the file.
    labels: a CSV or Parquet table of the species of images, by the columns `image_column` and `label_column`; images
        that are not in it are left out. None: the label is the name of the folder that directly holds the image.
    categories: names of those that are taken, null for all. confidence: from 0 to 1, the least of a box. margin: share
    of a box's width and height that is added on each side. The others: see `from_file`.
    Raises DataError for a file that is no such file, and where no box is left.
    """
    file, base = file_and_root(path, root, "a JSON file")
    _require_share(confidence)
    found = _read(file, "results of MegaDetector", lambda content: _megadetector(content, categories, confidence))
    table, notes = _table(found, file, base)
    labelled = labels is not None or any("/" in name for name in table["path"])
    if labels is None:
        table = table.with_columns(pl.Series("label", [Path(base, name).parent.name for name in table["path"]]))
    else:
        table, species = _labelled(table, labels, image_column, label_column)
        notes.append(species)
    table, told = with_exif_groups(table, base, group_exif, group_minutes)
    return Manifest.from_table(
        base,
        with_boxes(table, margin, found.shares),
        notes=(*notes, *told),
        reading=Reading(on_bad, max_bad_share, max_pixels),
        labelled=labelled,
        min_images=min_images,
    )


def from_coco(
    path: str,
    root: str | None = None,
    categories: Sequence[str] | None = None,
    confidence: float = 0.0,
    margin: float = 0.0,
    on_bad: str = "error",
    max_bad_share: float = 0.01,
    max_pixels: int = MAX_PIXELS,
    group_exif: str | None = None,
    group_minutes: float = 5.0,
    min_images: int = 1,
) -> Manifest:
    """Read the annotations of a COCO file (object detection, camera traps): each is an image, its category the label.

    A box is taken as a share of the width and height that the file gives of its image, where it gives them for all, so
    that images may have been resized since. An annotation without a box is of the whole image. Groups of objects in one
    box (iscrowd) and boxes with a score below `confidence` are left out and counted.

    path: the file. root: the folder that its image paths are relative to, by default that of the file.
    categories: names of those that are taken, null for all. margin: share of a box's width and height that is added on
    each side. The others: see `from_file`. Raises DataError for a file that is no such file, and where no box is left.
    """
    file, base = file_and_root(path, root, "a JSON file")
    _require_share(confidence)
    found = _read(file, "COCO annotations", lambda content: _coco(content, categories, confidence))
    table, notes = _table(found, file, base)
    table, told = with_exif_groups(table, base, group_exif, group_minutes)
    return Manifest.from_table(
        base,
        with_boxes(table, margin, found.shares),
        notes=(*notes, *told),
        reading=Reading(on_bad, max_bad_share, max_pixels),
        min_images=min_images,
    )


def _require_share(confidence: float) -> None:
    if not 0 <= confidence <= 1:
        raise DataError(f"data.confidence is from 0 to 1; found {confidence}")


def _read(file: Path, kind: str, take: Callable[[Any], _Found]) -> _Found:
    """Return what a JSON file says. Raises DataError where it is too large, damaged, or holds something else."""
    try:
        return take(parse_json(read_bounded(file, MOST_BYTES)))
    except KeyError as error:
        raise DataError(f"{file} does not hold {kind}: it has no {error}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file} does not hold {kind}: {error}") from error


def _megadetector(content: Any, categories: Sequence[str] | None, confidence: float) -> _Found:
    """Read the format of the MegaDetector package (boxes in shares), or that of PyTorch-Wildlife's command (corners in
    pixels, in a plain list)."""
    listed = isinstance(content, list)
    images, names = (content, {}) if listed else (content["images"], content["detection_categories"])
    boxes: list[_Box] = []
    left: Counter[str] = Counter()
    for image in images:
        if "frame_rate" in image or image.get("failure"):
            left["videos" if "frame_rate" in image else "images that it could not read"] += 1
            continue
        for each in image.get("detections") or ():
            category = str(names.get(str(each["category"]), each["category"]))
            if categories is not None and category not in categories:
                left[f"boxes of {category}"] += 1
            elif float(each["confidence" if listed else "conf"]) < confidence:
                left[f"boxes of a confidence below {confidence:g}"] += 1
            else:
                x, y, right, bottom = box = _four(each["bbox"])
                boxes.append(_Box(str(image["file"]), None, (x, y, right - x, bottom - y) if listed else box))
    return _Found(boxes, not listed, left, len(images))


def _coco(content: Mapping[str, Any], categories: Sequence[str] | None, confidence: float) -> _Found:
    names = {each["id"]: str(each["name"]) for each in content["categories"]}
    images = {each["id"]: each for each in content["images"]}
    shares = all(image.get("width") and image.get("height") for image in images.values())
    boxes: list[_Box] = []
    left: Counter[str] = Counter()
    for each in content["annotations"]:
        if each["image_id"] not in images or each["category_id"] not in names:
            raise ValueError(
                f"an annotation is of image {each['image_id']} and category {each['category_id']}, which are not in it"
            )
        image, label = images[each["image_id"]], names[each["category_id"]]
        if categories is not None and label not in categories:
            left["annotations of other categories"] += 1
        elif each.get("iscrowd"):
            left["boxes of several objects (iscrowd)"] += 1
        elif float(each.get("score", 1)) < confidence:
            left[f"boxes of a score below {confidence:g}"] += 1
        else:
            box = _four(each["bbox"]) if each.get("bbox") else None
            if box and shares:
                width, height = float(image["width"]), float(image["height"])
                box = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
            boxes.append(_Box(str(image["file_name"]), label, box))
    return _Found(boxes, shares, left, len(images))


def _four(box: Any) -> tuple[float, ...]:
    numbers = tuple(map(float, box))
    if len(numbers) != 4:
        raise ValueError(f"a box has four numbers; found {box}")
    return numbers


def _table(found: _Found, file: Path, base: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the columns path, label and BOX, paths relative to the root folder, and what is to be said of them."""
    left = [f"{count:,} {what}" for what, count in found.left.items()]
    told = f" Left out: {', '.join(left)}." if left else ""
    if not found.boxes:
        raise DataError(
            f"no box of {found.images:,} images in {file} is left.{told} See data.categories and data.confidence."
        )
    paths, labels, boxes = zip(*found.boxes, strict=True)
    columns = zip(*(box or (None,) * len(BOX) for box in boxes), strict=True)
    table = pl.DataFrame(
        {"path": paths, "label": labels, **dict(zip(BOX, columns, strict=True))},
        schema={"path": pl.String, "label": pl.String, **dict.fromkeys(BOX, pl.Float64)},
    )
    slashed, notes = slashes(table["path"], base)
    table = table.with_columns(slashed.str.strip_prefix(f"{base.as_posix()}/"))
    images = f"{table['path'].n_unique():,} of the {found.images:,} images of {file.name}"
    return table, [f"{len(boxes):,} boxes in {images}.{told}", *notes]


def _labelled(table: pl.DataFrame, labels: str, image_column: str, label_column: str) -> tuple[pl.DataFrame, str]:
    """Return the boxes of those images that a table names the species of, and a sentence on the others."""
    file = existing_path(labels, "data.labels", Path.is_file, "a CSV or Parquet file")
    named = read_table(file, image_column, label_column).select("path", "label").cast(pl.String)
    named = named.drop_nulls().unique(maintain_order=True)
    twice = named.filter(named["path"].is_duplicated())["path"].unique(maintain_order=True).to_list()
    if twice:
        raise DataError(
            f"{file} names several species for {len(twice)} images: {name_some(twice)}. Give a label to each box, in a "
            "table with columns x, y, width and height (data=manifest)"
        )
    found = table.drop("label").join(named, on="path", how="inner", maintain_order="left")
    missing = table.filter(~table["path"].is_in(named["path"].to_list()))["path"].unique(maintain_order=True).to_list()
    if found.is_empty():
        raise DataError(f"{file} has none of the {len(missing)} images with boxes: {name_some(missing)}")
    told = f"; left out as not in it are {len(missing):,} images: {name_some(missing)}" if missing else ""
    return found, f"Species from {file.name}{told}."
