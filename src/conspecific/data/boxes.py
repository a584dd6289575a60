"""Boxes of a table of images: they become part of the path of an image, which then names that part of it."""

import os

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.errors import DataError
from conspecific.images import Region, file_of

Boxes = NDArray[np.float64]
Rows = NDArray[np.bool_]

BOX = ("x", "y", "width", "height")
MOST_MARGIN, MOST_PIXELS = 10, 1e9
MOST_SHARE = 1.01  # detectors round; a box with a larger number is one in pixels


def with_boxes(table: pl.DataFrame, margin: float = 0.0, shares: bool | None = None) -> pl.DataFrame:
    """Return a table of images with the box of each row in its path, see `images.Region`, in place of the columns BOX.

    A row with null in all four is the whole image. Rows of one image come together, and are a group where they have
    none.

    margin: share of a box's width and height that is added on each side. shares: whether the numbers are shares of an
    image's width and height, else pixels; None: they are if all are up to 1.
    Raises DataError for a margin out of range and for boxes that are no numbers, not finite, without an area,
    incomplete, or in shares in some rows and in pixels in others. Whether a box is in its image is known when the image
    is read.
    """
    if not 0 <= margin <= MOST_MARGIN:
        raise DataError(f"data.margin is a share of a box's width and height, from 0 to {MOST_MARGIN}; found {margin}")
    if set(BOX) <= set(table.columns):
        boxes, given = _numbers(table)
        shares = _are_shares(boxes, given) if shares is None else shares
        fragments = [Region(x, y, width, height, shares, margin).fragment for x, y, width, height in boxes.tolist()]
        named = [
            path + fragment if path is not None and has_box else path
            for path, fragment, has_box in zip(table["path"].to_list(), fragments, given.tolist(), strict=True)
        ]
        table = table.drop(BOX).with_columns(pl.Series("path", named, pl.String))
    return _together(table)


def _numbers(table: pl.DataFrame) -> tuple[Boxes, Rows]:
    """Return the boxes [N, 4], and which rows have one, [N] bool."""
    try:
        columns = table.select(pl.col(BOX).cast(pl.String).str.strip_chars().replace("", None).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"the columns x, y, width and height hold numbers, or nothing; {reason}") from error
    filled: Rows = columns.select(pl.all().is_not_null()).to_numpy()
    boxes: Boxes = columns.fill_null(0).to_numpy()
    given, some = np.logical_and.reduce(filled, axis=1), np.logical_or.reduce(filled, axis=1)
    named = np.array([path is not None and Region.of(path) is not None for path in table["path"].to_list()], np.bool_)
    _refuse(some & ~given, "an incomplete box: x, y, width and height are needed, or none of them")
    _refuse(given & ~(np.abs(boxes) < MOST_PIXELS).all(axis=1), "a box with a number that is not finite, or too large")
    _refuse(given & (boxes[:, 2:] <= 0).any(axis=1), "a box whose width or height is not above 0")
    _refuse(given & named, "a box and a path that ends in one")
    return boxes, given


def _are_shares(boxes: Boxes, given: Rows) -> bool:
    small = (boxes <= MOST_SHARE).all(axis=1)
    shares, pixels = np.flatnonzero(given & small) + 1, np.flatnonzero(given & ~small) + 1
    if shares.size and pixels.size:
        raise DataError(
            f"{shares.size} manifest rows have a box in shares of the image, from 0 to 1 (first rows "
            f"{shares[:5].tolist()}), and {pixels.size} one in pixels (first rows {pixels[:5].tolist()}): write all "
            "of them in one unit"
        )
    return bool(shares.size)


def _refuse(rows: Rows, fault: str) -> None:
    if found := (np.flatnonzero(rows) + 1).tolist():
        raise DataError(f"{len(found)} manifest rows have {fault}; first rows {found[:5]}")


def _together(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of each image one after another, as a group where they have none; others as they are."""
    paths = table["path"].to_list()
    files = [None if path is None else file_of(path) for path in paths]
    if files == paths:  # no row has a box
        return table
    image = [None if file is None else os.path.normpath(file) for file in files]
    group = pl.col("group") if "group" in table.columns else pl.lit(None, pl.String)
    group = group.cast(pl.String).replace("", None)
    several = pl.len().over("image") > 1
    return (
        table.with_columns(pl.Series("image", image, pl.String))
        .with_row_index("row")
        .with_columns(pl.when(several).then(group.fill_null(pl.col("image"))).otherwise(group).alias("group"))
        .sort(pl.col("row").min().over("image"), "row")
        .drop("image", "row")
    )
