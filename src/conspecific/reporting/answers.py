"""What a search found, as rows for a table or a file, and as a picture."""

import hashlib
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path

import polars as pl
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from conspecific.files import write_json, write_text, write_whole
from conspecific.images import open_rgb
from conspecific.montage import answer_sheet, square
from conspecific.reading import json_keys
from conspecific.reporting.page.wording import species_name
from conspecific.runs.answers import Answers
from conspecific.tables import csv_text, is_table_of

TABLES = (".csv", ".json")
PICTURED = 100  # answers in a picture
CELL = 160  # pixels of the side of each
MARK = "conspecific-search"  # key of the text in a PNG file that tells whose answers it shows, and maker of a picture
MAKER = ExifTags.Base.Software
MARKED = ("PNG", "JPEG", "WEBP", "TIFF")  # kinds of images that keep it
KEYS = frozenset({"root", "threshold", "none_of_these", "answers"})  # of a .json file


@dataclass(frozen=True, slots=True)
class FoundImage:
    """One answer to a query. rank: from 1. score: higher is nearer. path: relative to the root of the data."""

    query: str
    rank: int
    species: str
    score: float
    path: str


def found_images(answers: Answers, query: int) -> list[FoundImage]:
    """Return the answers to one query, the nearest first. query: its number, from 0."""
    manifest, found = answers.manifest, answers.neighbors
    return [
        FoundImage(
            str(answers.queries[query]),
            rank,
            _species(answers, identity),
            float(score),
            manifest.table["path"][identity],
        )
        for rank, (identity, score) in enumerate(
            zip(found.ids[query].tolist(), found.scores[query], strict=True), start=1
        )
        if identity >= 0  # an approximate index may find fewer than were asked for
    ]


def write_table(file: Path, answers: Answers) -> None:
    """Write the answers to all queries, a row each, as .csv or .json."""
    rows = [asdict(row) for query in range(len(answers.queries)) for row in found_images(answers, query)]
    if file.suffix.lower() == ".json":
        threshold = None if answers.threshold is None else asdict(answers.threshold)
        unknown = [str(path) for query, path in enumerate(answers.queries) if answers.is_unknown(query)]
        root = str(answers.manifest.root)
        write_json(file, {"root": root, "threshold": threshold, "none_of_these": unknown, "answers": rows})
    else:
        write_text(file, csv_text(pl.DataFrame(rows)))


def write_picture(file: Path, answers: Answers, query: int, mark: str = "") -> None:
    """Write a picture of a query and the first hundred answers to it. mark: kept in a PNG file, see `own_picture`."""
    ids = [identity for identity in answers.neighbors.ids[query, :PICTURED].tolist() if identity >= 0]
    sheet = answer_sheet(
        open_rgb(answers.queries[query], CELL),
        [square(open_rgb(answers.manifest.path(identity), CELL), CELL) for identity in ids],  # small ones are held
        [None] * len(ids),
        captions=[_species(answers, identity) for identity in ids],
        query_caption=answers.queries[query].name,
        scores=answers.neighbors.scores[query, : len(ids)].tolist(),
        places=len(ids),
        cell=CELL,
    )
    save_picture(file, sheet, mark)


def save_picture(file: Path, picture: Image.Image, mark: str = "") -> None:
    """Write a picture of answers, which says that this program made it. mark: see `own_picture`."""
    information = PngInfo()
    information.add_text(MARK, mark)
    exif = Image.Exif()
    exif[MAKER] = MARK
    with write_whole(file) as temporary:
        picture.save(temporary, pnginfo=information, exif=exif, compress_level=1)  # sooner, and a tenth larger


def is_answer(file: Path) -> bool:
    """Return whether `write_table` or `write_picture` wrote a file, so that it may be replaced.

    Pictures of kinds that keep no note of it, such as .gif, do not count.
    """
    if not file.is_file():
        return False
    try:
        if file.suffix.lower() == ".csv":
            return is_table_of(file, [each.name for each in fields(FoundImage)])
        if file.suffix.lower() == ".json":
            return json_keys(file) == KEYS
        with Image.open(file, formats=MARKED) as image:
            return image.getexif().get(MAKER) == MARK
    except (OSError, ValueError, SyntaxError):
        return False


def own_picture(folder: Path, query: Path, weights: Path) -> tuple[Path, str]:
    """Return a name for the picture of a query, and its mark: search_NAME.png, or search_NAME-2.png ... where that is
    a file of another query, of other weights, or not of this program.
    """
    mark = hashlib.sha256(f"{query.resolve()}|{weights.resolve()}".encode()).hexdigest()
    for number in count(1):
        file = folder / f"search_{query.stem}{'' if number == 1 else f'-{number}'}.png"
        if not file.exists() or _mark_of(file) == mark:
            return file, mark
    raise AssertionError("count() does not end")


def _mark_of(file: Path) -> str | None:
    try:
        with Image.open(file, formats=["PNG"]) as image:
            return str(image.info.get(MARK))
    except (OSError, ValueError, SyntaxError):
        return None


def _species(answers: Answers, identity: int) -> str:
    return species_name(answers.manifest.table["label"][identity])
