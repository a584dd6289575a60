"""A map of the embeddings: a sample of the test images in two dimensions, under the baseline and what it is compared
with."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from conspecific.errors import ConspecificError, RunError
from conspecific.evaluation.projection import MOST
from conspecific.montage import EMPTY, square
from conspecific.parquet import read_parquet
from conspecific.reporting.page.wording import percent, species_name
from conspecific.reporting.run.subject import Encoder, Subject

TILE, ACROSS, QUALITY = 56, 25, 40  # pixels of an image that is shown beside a point, images in a row of the sprite
ROLES = {"flatten": "baseline", "pooled": "pooled", "model": "model"}  # columns of the table -> role of the encoder


@dataclass(frozen=True, slots=True)
class Side:
    """The points of one encoder: x and y from 0 to 100. near: how often the nearest point is of the same species."""

    encoder: Encoder
    points: tuple[tuple[float, float], ...]
    near: str


def embedding_map(run: Subject) -> dict[str, Any] | None:
    """Build the section; None for a run without a map."""
    names = "flatten", run.record.best
    table = read_map(run.record.directory.embedding_map, names)
    if table is None:
        return None
    labels = table["label"].to_list()
    species = sorted(set(labels))
    numbers = [species.index(label) for label in labels]
    encoders = {encoder.role: encoder for encoder in run.encoders}
    return {
        "sides": [_side(table, name, encoders[ROLES[name]], numbers) for name in names],
        "images": [(species_name(label), path) for label, path in table.select("label", "path").iter_rows()],
        "numbers": numbers,
        "species": [species_name(label) for label in species],
        "hues": [round(137.5 * number % 360) for number in range(len(species))],  # neighbors in the list are apart
        "sprite": sprite(table["path"].to_list(), run.open_image),
        "tile": TILE,
        "across": ACROSS,
    }


def read_map(file: Path, names: Sequence[str]) -> pl.DataFrame | None:
    """Read where the images are under encoders; None where nothing was written. Raises RunError where it is no map."""
    if not file.is_file():
        return None
    columns = [f"{name}_{axis}" for name in names for axis in "xy"]
    try:
        table = read_parquet(file).head(MOST).select(pl.col("path", "label").cast(pl.String), *columns)
        numbers = table.select(pl.col(columns).cast(pl.Float64).clip(0, 1))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    if not np.isfinite(numbers.to_numpy()).all() or table.select("path", "label").null_count().sum_horizontal().item():
        raise RunError(f"{file} is no map of embeddings: a path, a label or a coordinate is missing")
    return table.with_columns(numbers)


def _side(table: pl.DataFrame, name: str, encoder: Encoder, numbers: list[int]) -> Side:
    places = table.select(f"{name}_x", f"{name}_y").to_numpy()
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    same = np.array(numbers) == np.array(numbers)[apart.argmin(axis=1)]
    points = tuple((round(100 * x, 1), round(100 * (1 - y), 1)) for x, y in places.tolist())
    return Side(encoder, points, percent(float(same.mean())))


def sprite(paths: list[str], open_image: Callable[[str], Image.Image]) -> Mapping[str, Any]:
    """Return all images as one WebP data URI, with its width and height in pixels."""
    sheet = Image.new("RGB", (ACROSS * TILE, -(-len(paths) // ACROSS) * TILE), EMPTY)
    for place, path in enumerate(paths):
        try:
            tile = square(open_image(path), TILE)
        except (OSError, ConspecificError):  # the report is written without images that were moved since
            continue
        sheet.paste(tile, (place % ACROSS * TILE, place // ACROSS * TILE))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=QUALITY)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"uri": uri, "width": sheet.width, "height": sheet.height}
