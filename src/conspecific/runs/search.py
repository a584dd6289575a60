"""Search an index, or the images of a run, with query images.

Where an index has its network with it, torch is not imported: the answer is there in less than two seconds.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageOps
from rich.console import Console

from conspecific.config.refine import RefineConfig
from conspecific.config.schema import SearchConfig, ServeConfig, UseConfig
from conspecific.config.targets import TARGET
from conspecific.data.manifest import Manifest
from conspecific.encoding.query_encoder import can_open, open_query_encoder
from conspecific.errors import ConfigError
from conspecific.images import center_crop, image_array, open_rgb
from conspecific.index import Index, Searcher
from conspecific.index.folder import is_index
from conspecific.index.gallery_index import require_encoder
from conspecific.runs.answers import Answers, Threshold
from conspecific.runs.directory import RunDirectory
from conspecific.types import EmbeddingSet, FloatArray, Neighbors

if TYPE_CHECKING:
    from conspecific.runs.open import OpenRun

OWN = ("weights", "model", "truncate", "image_size")  # keys that an index has answered when it was made


def find_answers(config: SearchConfig, queries: Sequence[Path], console: Console) -> Answers:
    """Return the nearest images of each query, in the index or run that `config.run` names.

    Of a run, its index is searched if it has one and nothing else is asked for than it holds.
    Raises ImageError and DataError for images, RunError for a run or index, ConfigError for keys that an index has not.
    """
    folder = _index_folder(config)
    if folder is None:
        from conspecific.runs.open import open_run

        return search_images(open_run(config), queries, config.k, console, config.refine)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    index = Index.open(folder, cache=Path(config.paths.cache).expanduser(), say=say)
    _require_present_weights(index, folder)
    say(f"Index: {folder}, {len(index):,} images, {index.kind}")
    return search_index(index, folder, queries, config, console)


def search_index(
    index: Index, folder: Path, queries: Sequence[Path], config: SearchConfig, console: Console
) -> Answers:
    """Find the k nearest images of each query in an index that was read from a folder."""
    vectors = _embedded(index, folder, queries, config, console)
    found = index.search(vectors, min(config.k, len(index)), config.refine)
    neighbors, manifest = Neighbors(index.rows(found.ids), found.scores), indexed_images(index, config)
    threshold = None if config.refine.name else threshold_of(index)  # it is one of plain scores
    return Answers(tuple(queries), manifest, neighbors, folder, threshold)


def indexed_images(index: Index, config: UseConfig) -> Manifest:
    """Return the images of an index, row for row; in `config.data.root` where it names a folder."""
    root = Path((config.data or {}).get("root", index.stored.root)).expanduser()
    table, labelled = index.images.select("path", "label"), index.images["label"].null_count() == 0
    return Manifest.from_table(root, table.fill_null("?"), labelled=labelled)


def threshold_of(index: Index) -> Threshold | None:
    """Return the validated threshold that an index was made with."""
    stored = index.stored.threshold
    return Threshold(stored["score"], stored["precision"]) if {"score", "precision"} <= stored.keys() else None


def search_images(
    opened: "OpenRun", queries: Sequence[Path], k: int, console: Console, refine: RefineConfig | None = None
) -> Answers:
    """Find the k nearest images of each query, or all images where there are fewer. Raises ImageError, DataError."""
    from conspecific.index.refined import search_refined
    from conspecific.runs.gallery import validated_threshold

    embedder, config = opened.embedder, opened.config
    embedder.image_size = opened.image_size
    vectors = embedder.embed(queries, device=config.device, workers=config.workers, progress=len(queries) > 1)
    ids, labels = -1 - np.arange(len(queries)), np.full(len(queries), -1)  # negative: of no image in the manifest
    folder, manifest, gallery = opened.embed_all(console)
    if refine is not None and refine.flip:
        from conspecific.evaluation.refined import flip_averaged, flip_mean

        side = opened.image_size
        mirrored = [ImageOps.mirror(center_crop(open_rgb(path, side), side)) for path in queries]
        others = embedder.embed(mirrored, device=config.device, workers=config.workers)
        vectors = flip_mean(vectors, others, embedder.metric)
        gallery = flip_averaged(gallery, opened.embed_mirrored(manifest, folder, console), embedder.metric)
    asked, k = EmbeddingSet(vectors, ids, labels), min(k, len(gallery))
    if refine is None or not refine.name:
        found = Searcher(gallery, embedder.metric).search(asked, k)
        return Answers(tuple(queries), manifest, found, opened.weights, validated_threshold(opened))
    found = search_refined(gallery, asked, embedder.metric, replace(refine, flip=False), k)
    return Answers(tuple(queries), manifest, found, opened.weights)


def named_index(config: SearchConfig | ServeConfig) -> Path | None:
    """Return the index that `config.run` names; None where it names a run. Raises ConfigError for keys of a run."""
    place = None if config.run is None else Path(config.run).expanduser()
    if place is None or not is_index(place):
        return None
    if asked := _asked(config):
        raise ConfigError(f"{place} is an index, which has its own images and weights: leave out {', '.join(asked)}")
    if config.refine.flip:
        raise ConfigError(f"{place} is an index, which has no embeddings of mirrored images: leave out refine.flip")
    return place


def _index_folder(config: SearchConfig) -> Path | None:
    """Return the index to search: the one that is named, or that of the run; None where the run itself is asked for."""
    if (named := named_index(config)) or config.run is None:
        return named
    own = RunDirectory(Path(config.run).expanduser()).index
    held = not _asked(config) and config.data is None and not config.refine.flip
    return own if is_index(own) and held else None


def _asked(config: UseConfig) -> list[str]:
    """Return the keys that are set, of those that an index has answered."""
    return [key for key in OWN if getattr(config, key) is not None] + ["data"] * (TARGET in (config.data or {}))


def _require_present_weights(index: Index, folder: Path) -> None:
    """Raise RunError where the run that an index was made with has other weights now."""
    above = RunDirectory(folder.absolute().parent)
    run = above if above.config.is_file() else RunDirectory(Path(str(index.stored.source.get("run"))))
    if run.weights.is_file():
        found = hashlib.sha256(run.weights.read_bytes()).hexdigest()
        require_encoder(index.stored, {**index.stored.encoder, "weights": found}, folder)


def _embedded(
    index: Index, folder: Path, queries: Sequence[Path], config: SearchConfig, console: Console
) -> FloatArray:
    """Embed queries by the network of the index; by that of its run where it has none, or one from elsewhere."""
    encoder = index.contents.encoder if index.contents else None
    if encoder is not None and can_open():
        size = int(index.stored.encoder["image_size"])
        return open_query_encoder(encoder)(np.stack([image_array(path, size) for path in queries]))
    from conspecific.runs.gallery import open_for

    opened = open_for(index, folder, config)
    opened.embedder.image_size = opened.image_size
    return opened.embedder.embed(queries, device=config.device, workers=config.workers, progress=len(queries) > 1)
