"""conspecific search: the images nearest to one image."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from conspecific.config.schema import SearchConfig
from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError, DataError
from conspecific.evaluation import device_for
from conspecific.images import image_tensor, open_rgb
from conspecific.index import Searcher
from conspecific.reporting.page.montage import answer_sheet
from conspecific.reporting.page.wording import species_name
from conspecific.runs.open import OpenRun, open_run
from conspecific.types import EmbeddingSet, Neighbors

OUTSIDE = -1  # sample id of an image that is not in the manifest


def run(config: SearchConfig) -> None:
    """Print the nearest k with species and scores, and save the image of the ten nearest."""
    if config.image is None:
        raise ConfigError("search needs an image: conspecific search RUN IMAGE")
    if config.k < 1:
        raise ConfigError(f"k must be 1 or more; found {config.k}")
    output = Path(config.output or f"search_{Path(config.image).stem}.png").expanduser()
    if output.suffix.lower() not in Image.registered_extensions():
        raise ConfigError(f"output={output} must end in a kind of image, such as .png")
    console = Console(markup=False)
    opened = open_run(config)
    image = Path(config.image).expanduser()
    query = _embed_outside(opened, image)
    own = opened.run is not None and config.data is None
    name = f"{'all' if own else 'searched'}{opened.suffix}"
    folder = (opened.run.embeddings if opened.run else Path("embeddings")) / name
    manifest, gallery = opened.embed_all(folder, console)
    neighbors = Searcher(gallery, opened.embedder.metric).search(query, min(max(config.k, 10), len(gallery)))
    console.print(_table(manifest, neighbors, config.k))
    output.parent.mkdir(parents=True, exist_ok=True)
    _sheet(manifest, neighbors, image).save(output)
    console.print(f"Image: {output}", soft_wrap=True)


def _embed_outside(opened: OpenRun, image: Path) -> EmbeddingSet:
    device = device_for(opened.config.device)
    embedder = opened.embedder.eval().to(device)
    try:
        pixels = image_tensor(image, opened.image_size)
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{image} cannot be read as an image: {error}") from error
    with torch.inference_mode():
        vectors = embedder(pixels[None].to(device)).cpu().numpy()
    return EmbeddingSet(vectors, np.array([OUTSIDE]), np.array([-1]))


def _table(manifest: Manifest, neighbors: Neighbors, k: int) -> Table:
    title = f"Nearest of {len(manifest):,} images"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column, justify in (("rank", "right"), ("species", "left"), ("score", "right"), ("image", "left")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for rank, (found, score) in enumerate(zip(neighbors.ids[0, :k], neighbors.scores[0, :k], strict=True), start=1):
        species = species_name(manifest.species[manifest.labels[found]])
        table.add_row(str(rank), species, f"{score:.3f}", manifest.table["path"][int(found)])
    return table


def _sheet(manifest: Manifest, neighbors: Neighbors, image: Path) -> Image.Image:
    ids = [int(found) for found in neighbors.ids[0, :10]]
    return answer_sheet(
        open_rgb(image),
        [open_rgb(manifest.path(found)) for found in ids],
        [None] * len(ids),
        captions=[species_name(manifest.species[manifest.labels[found]]) for found in ids],
        query_caption=image.name,
        scores=[float(score) for score in neighbors.scores[0, :10]],
    )
