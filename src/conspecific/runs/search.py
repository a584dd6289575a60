"""Search an index, or the images of a run, with query images.

Where an index has its network with it, torch is not imported: the answer is there in less than two seconds.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation.taxonomy import read_stored_taxa
from conspecific.files import sha256_of
from conspecific.images import center_crop, image_array, open_rgb
from conspecific.index import Index, Searcher
from conspecific.index.flip import flip_averaged, flip_mean
from conspecific.index.folder import is_index
from conspecific.index.gallery_index import require_encoder
from conspecific.runs.answers import Answers, Threshold
from conspecific.runs.directory import RunDirectory
from conspecific.runs.kept_index import keep_index, listed_now, may_keep, open_kept
from conspecific.types import EmbeddingSet, FloatArray, Neighbors

if TYPE_CHECKING:
    from conspecific.runs.open import OpenRun

OWN = ("weights", "model", "truncate", "image_size")  # keys that an index has answered when it was made


def find_answers(config: SearchConfig, queries: Sequence[Path], console: Console) -> Answers:
    """Return the nearest images of each query, in the index or run that `config.run` names.

    Of a run, its index is searched if it has one and nothing else is asked for than it holds. A search that embedded
    the run's own images leaves an index for the next one.
    Raises ImageError and DataError for images, RunError for a run or index, ConfigError for keys that an index has not.
    """

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    if config.local:
        from conspecific.runs.local import find_local  # torch, which a plain search in an index does without

        return find_local(config, queries, console)
    if (folder := index_folder(config)) is not None:
        index = Index.open(folder, cache=Path(config.paths.cache).expanduser(), say=say)
        _require_present_weights(index, folder)
    elif may_keep(config) and (kept := open_kept(config, say)) is not None:
        folder, index = kept
    else:
        from conspecific.runs.open import open_run

        return search_images(open_run(config), queries, config.k, console, config.refine)
    say(f"Index: {folder}, {len(index):,} images, {index.kind}{', flip' * index.flip}")
    return search_index(index, folder, queries, config)


def search_index(index: Index, folder: Path, queries: Sequence[Path], config: SearchConfig) -> Answers:
    """Find the k nearest images of each query in an index that was read from a folder."""
    require_held(index, folder, config.refine)
    vectors = _embedded(index, folder, queries, config)
    found = index.search(vectors, min(config.k, len(index)), config.refine)
    neighbors, manifest = Neighbors(index.rows(found.ids), found.scores), indexed_images(index, config)
    if config.refine.name:  # what validation says is of plain searches
        return Answers(tuple(queries), manifest, neighbors, folder)
    return Answers(tuple(queries), manifest, neighbors, folder, threshold_of(index), sure_of(index))


def indexed_images(index: Index, config: UseConfig) -> Manifest:
    """Return the images of an index, row for row; in `config.data.root` where it names a folder."""
    root = Path((config.data or {}).get("root", index.stored.root)).expanduser()
    found = Manifest.from_table(root, index.images.select("path", "label"))
    return replace(found, taxa=read_stored_taxa(index.stored.source.get("taxa") or {}))


def threshold_of(index: Index) -> Threshold | None:
    """Return the validated threshold that an index was made with."""
    stored = index.stored.threshold
    return Threshold(stored["score"], stored["kept"]) if {"score", "kept"} <= stored.keys() else None


def sure_of(index: Index) -> dict[str, float]:
    """Return the shares of votes from which on answers are sure, as an index was made with. Raises RunError."""
    stored = index.stored.source.get("sure") or {}
    if not isinstance(stored, dict) or any(type(share) is not float for share in stored.values()):
        raise RunError(f"the index says {stored!r} of sure answers, which are no shares: make it again")
    return stored


def search_images(
    opened: "OpenRun", queries: Sequence[Path], k: int, console: Console, refine: RefineConfig | None = None
) -> Answers:
    """Find the k nearest images of each query, or all images where there are fewer. Raises ImageError, DataError."""
    from conspecific.index.refined import search_refined
    from conspecific.runs.gallery import validated_shares, validated_threshold
    from conspecific.runs.within_species import asked_within_species

    embedder, flip = opened.embedder, refine is not None and refine.flip
    within = asked_within_species(opened, refine or RefineConfig())
    vectors = embed_queries(opened, queries, flip)
    ids, labels = -1 - np.arange(len(queries)), np.full(len(queries), -1)  # negative: of no image in the manifest
    listed = listed_now(opened)
    folder, manifest, gallery = opened.embed_all(console)
    if listed is not None:
        keep_index(opened, listed, manifest, gallery, console)
    if flip:
        gallery = flip_averaged(gallery, opened.embed_mirrored(manifest, folder, console), embedder.metric)
    asked, k = EmbeddingSet(vectors, ids, labels), min(k, len(gallery))
    if refine is None or not refine.name:
        found = Searcher(gallery, embedder.metric).search(asked, k)
        known = validated_threshold(opened), validated_shares(opened)
        return Answers(tuple(queries), manifest, found, opened.weights, *known)
    found = search_refined(gallery, asked, embedder.metric, replace(refine, flip=False), k, within=within)
    return Answers(tuple(queries), manifest, found, opened.weights)


def embed_queries(opened: "OpenRun", queries: Sequence[Path], flip: bool) -> FloatArray:
    """Embed query images by a run, [N, D]. flip: average them with their mirror images."""
    embedder, side = opened.embedder, opened.image_size
    embedder.image_size = side
    embed = partial(embedder.embed, device=opened.config.device, workers=opened.config.workers)
    vectors = embed(queries, progress=len(queries) > 1)
    if not flip:
        return vectors
    mirrored = [ImageOps.mirror(center_crop(open_rgb(path, side), side)) for path in queries]
    return flip_mean(vectors, embed(mirrored), embedder.metric)


def require_held(index: Index, folder: Path, refine: RefineConfig) -> None:
    """Raise ConfigError where refine.flip or refine.wiener is asked of an index that was made without."""
    if refine.flip and not index.flip:
        raise ConfigError(
            f"{folder} was made without mirrored images: leave out refine.flip, or make it again with flip=true"
        )
    if refine.wiener and index.within is None:
        raise ConfigError(
            f"{folder} does not say how embeddings vary within a species: leave out refine.wiener, or make it again "
            "with conspecific index RUN, of a run that has within_species.safetensors"
        )


def named_index(config: SearchConfig | ServeConfig) -> Path | None:
    """Return the index that `config.run` names; None where it names a run. Raises ConfigError for keys of a run."""
    place = None if config.run is None else Path(config.run).expanduser()
    if place is None or not is_index(place):
        return None
    if asked := _asked(config):
        raise ConfigError(f"{place} is an index, which has its own images and weights: leave out {', '.join(asked)}")
    return place


def index_folder(config: SearchConfig) -> Path | None:
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
        require_encoder(index.stored, {**index.stored.encoder, "weights": sha256_of(run.weights)}, folder)


def _embedded(index: Index, folder: Path, queries: Sequence[Path], config: SearchConfig) -> FloatArray:
    """Embed queries by the network of the index; by that of its run where it has none, or one from elsewhere."""
    network = index.contents.encoder if index.contents else ()
    if can_open(network):
        size = int(index.stored.encoder["image_size"])
        images, embed = np.stack([image_array(path, size) for path in queries]), open_query_encoder(network)
        if not index.flip:
            return embed(images)
        return flip_mean(embed(images), embed(np.ascontiguousarray(images[..., ::-1])), index.stored.similarity)
    from conspecific.runs.gallery import open_for

    return embed_queries(open_for(index, folder, config), queries, index.flip)
