"""Search the images of a run, or others, with query images."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from conspecific.data.listing import is_image, list_files
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.index import Searcher
from conspecific.runs.open import OpenRun
from conspecific.types import EmbeddingSet, Neighbors


@dataclass(frozen=True)
class Answers:
    """The nearest images of each query. neighbors: ids in `manifest` and scores, one row a query."""

    queries: tuple[Path, ...]
    manifest: Manifest
    neighbors: Neighbors


def find_queries(places: Sequence[str]) -> tuple[Path, ...]:
    """Return the images that are named, of folders all images below them.

    Raises DataError for a place that does not exist, an address of the web, and a folder without images.
    """
    return tuple(path for place in places for path in _images_at(place))


def search_images(opened: OpenRun, queries: Sequence[Path], k: int, console: Console) -> Answers:
    """Find the k nearest images of each query, or all images where there are fewer. Raises ImageError, DataError."""
    embedder, config = opened.embedder, opened.config
    embedder.image_size = opened.image_size
    vectors = embedder.embed(queries, device=config.device, workers=config.workers, progress=len(queries) > 1)
    ids, labels = -1 - np.arange(len(queries)), np.full(len(queries), -1)  # negative: of no image in the manifest
    _, manifest, gallery = opened.embed_all(console)
    found = Searcher(gallery, embedder.metric).search(EmbeddingSet(vectors, ids, labels), min(k, len(gallery)))
    return Answers(tuple(queries), manifest, found)


def _images_at(place: str) -> list[Path]:
    if re.match(r"[a-z][a-z0-9+.-]+://", place, re.IGNORECASE):
        raise DataError(f"{place} is an address of the web: download the image, and give its file")
    path = Path(place).expanduser()
    if not path.is_dir():
        return [path]  # whoever opens it says what is wrong with it
    found = [file for file in list_files(path) if is_image(file)]
    if not found:
        raise DataError(f"{path} is a folder without images: give an image, or a folder that holds some")
    return found
