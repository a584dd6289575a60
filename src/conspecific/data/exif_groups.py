"""Groups from what cameras write into photographs: the camera, the day, or pictures taken in quick succession."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
from PIL import ExifTags

from conspecific.config.choices import check_choice
from conspecific.errors import DataError
from conspecific.images import FORMATS, file_of, open_lazily, workers_for
from conspecific.reading import open_regular

KINDS = "camera", "day", "burst"
CAMERA = ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.BodySerialNumber
TIMES = ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized, ExifTags.Base.DateTime


class Taken(NamedTuple):
    """By which camera an image was taken, and when; None where the file does not say."""

    camera: str | None
    time: datetime | None


def with_exif_groups(
    table: pl.DataFrame, base: Path, kind: str | None, minutes: float
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the table with groups by EXIF data, and what is to be said of them, where a kind is asked for."""
    if kind is None or table.is_empty():
        return table, ()
    if "group" in table.columns and table["group"].null_count() < table.height:
        raise DataError(f"data.group_exif={kind}, but the images have groups already: drop one of the two")
    groups, told = exif_groups(base, table["path"].fill_null("").to_list(), kind, minutes)
    return table.with_columns(groups), (told,)


def exif_groups(root: Path, paths: Sequence[str], kind: str, minutes: float) -> tuple[pl.Series, str]:
    """Return a group for each image, null where its file does not say what is needed, and a sentence on how many do.

    kind: `camera`, those of one camera (make, model and, where it is there, serial number); `day`, those of one camera
        and date; `burst`, those of one camera of which each was taken at most `minutes` after the one before.
    Raises DataError for another kind, for minutes that are not positive, and where no image says what is needed.
    """
    check_choice("data.group_exif", kind, KINDS)
    if not minutes > 0:
        raise DataError(f"data.group_minutes must be above 0; found {minutes}")
    with ThreadPoolExecutor(workers_for(None)) as pool:
        taken = list(pool.map(partial(_taken, root), paths))
    groups = list(_bursts(taken, timedelta(minutes=minutes)) if kind == "burst" else map(partial(_group, kind), taken))
    known = sum(group is not None for group in groups)
    if not known:
        needed = "a camera" if kind == "camera" else "a camera and a time"
        raise DataError(
            f"data.group_exif={kind} needs the EXIF data of a camera: none of {len(paths)} images in {root} "
            f"says {needed}"
        )
    told = f"Groups from EXIF ({kind}): {known:,} of {len(paths):,} images say when and by what they were taken."
    return pl.Series("group", groups, pl.String), told


def _taken(root: Path, path: str) -> Taken:
    """Read what the EXIF data of a file says; nothing where the file cannot be read, which its check will name."""
    try:
        with open_regular(root / file_of(path)) as stream, open_lazily(stream, FORMATS) as image:
            exif = image.getexif()
    except Exception:  # Pillow's decoders raise errors of any kind for damaged files
        return Taken(None, None)
    tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    camera = " ".join(str(tags[tag]).strip("\0 ") for tag in CAMERA if tags.get(tag))
    return Taken(camera or None, next(filter(None, (_time(tags.get(tag)) for tag in TIMES)), None))


def _time(text: object) -> datetime | None:
    try:
        return datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:  # absent, or as a camera whose clock was never set writes it
        return None


def _group(kind: str, taken: Taken) -> str | None:
    if taken.camera is None or kind == "camera":
        return taken.camera
    return None if taken.time is None else f"{taken.camera} {taken.time:%Y-%m-%d}"


def _bursts(taken: Sequence[Taken], apart: timedelta) -> Iterator[str | None]:
    """Yield the camera and the time of the first image of each image's burst."""
    order = sorted((each.camera, each.time, place) for place, each in enumerate(taken) if each.camera and each.time)
    groups: dict[int, str] = {}
    last: tuple[str, datetime, str] | None = None
    for camera, time, place in order:
        begun = last is not None and last[0] == camera and time - last[1] <= apart
        name = last[2] if last is not None and begun else f"{camera} {time.isoformat()}"
        groups[place], last = name, (camera, time, name)
    yield from (groups.get(place) for place in range(len(taken)))
