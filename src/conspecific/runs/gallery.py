"""Make the index of a run's gallery, and bring it up to date with a folder."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from conspecific.config.schema import IndexConfig, UseConfig
from conspecific.config.targets import check_targets
from conspecific.data.manifest import Manifest
from conspecific.encoding.query_encoder import can_open, write_query_encoder
from conspecific.errors import ConfigError, DataError, RunError
from conspecific.evaluation.score_precision import WANTED, ScorePrecision
from conspecific.files import content_hash
from conspecific.index import Index
from conspecific.index.folder import ENCODER, is_index, require_replaceable
from conspecific.index.gallery_index import require_encoder
from conspecific.runs.answers import Threshold
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.record import read_record
from conspecific.types import FloatArray, IntArray

SOURCE = ("run", "weights", "model", "image_size", "truncate")  # keys by which the embeddings are computed again


@dataclass(frozen=True, slots=True)
class Changes:
    """What a refresh changed: numbers of images. encoded: of new and changed ones, those that no image equalled.

    how: a sentence on how images were removed; empty where none were.
    """

    new: int
    changed: int
    gone: int
    relabelled: int
    encoded: int
    how: str


def make_index(opened: OpenRun, console: Console) -> tuple[Path, Index]:
    """Build an index over the images that were asked for, and write it; return its folder and the index.

    Embeddings that `embed` or `search` left are used. The network is exported beside them where ONNX Runtime is
    installed, so that a search need not import torch.
    """
    config = opened.config
    assert isinstance(config, IndexConfig)
    folder = _output(opened, config.output)
    require_replaceable(folder)  # before the work, not after
    _, manifest, embeddings = opened.embed_all(console)
    index = Index.build(
        embeddings.vectors,
        manifest.table["path"].to_list(),
        manifest.table["label"].to_list(),
        kind=config.kind,
        similarity=opened.embedder.metric,
        contents=_contents(manifest),
        memory_gb=config.memory_gb,
        encoder=opened.encoder_facts(),
        source={**{key: getattr(config, key) for key in SOURCE}, "data": opened.data()},
        root=str(manifest.root.absolute()),
        threshold=_stored_threshold(opened),
    )
    with TemporaryDirectory() as scratch:
        encoder = _export(opened, Path(scratch) / ENCODER, console)
        index.save(folder, cache=opened.cache, write_encoder=_copy_of(encoder))
    return folder, index


def refresh_index(config: IndexConfig, console: Console) -> tuple[Path, Index, Changes]:
    """Compare the folder of an index with it, and do only what changed; only images with new content are encoded.

    config.run: an index, or a run that has one. Raises RunError where it belongs to other weights than its run has.
    """
    folder = Path(str(config.run)).expanduser()
    folder = folder if is_index(folder) else RunDirectory(folder).index
    cache = Path(config.paths.cache).expanduser()
    index = Index.open(folder, cache=cache, say=partial(console.print, soft_wrap=True, highlight=False))
    opened = open_for(index, folder, config)
    manifest, _ = opened.checked(console, scored=False)
    changes = _refresh(index, opened, manifest, console)
    index.save(folder, cache=cache, write_encoder=_copy_of(index.contents.encoder if index.contents else None))
    return folder, index, changes


def open_for(index: Index, folder: Path, config: UseConfig) -> OpenRun:
    """Open the run, or the weights, that an index was made with.

    config: its `data`, such as data.root=FOLDER, changes that of the index. Raises RunError where it is not there, or
    has other weights now.
    """
    source = index.stored.source
    if "data" not in source or not index.stored.encoder:
        raise RunError(f"{folder} was made of vectors, without a run: only vectors can be searched or added")
    data = {**source["data"], **(config.data or {})}
    check_targets({"data": data}, allow=config.allow)
    shared = {each.name: getattr(config, each.name) for each in fields(UseConfig)}
    own = {key: source.get(key) for key in SOURCE}
    if own["run"] is not None and RunDirectory(folder.absolute().parent).config.is_file():
        own["run"] = str(folder.absolute().parent)  # the run was moved with the index in it
    opened = open_run(UseConfig(**{**shared, **own, "data": data}))
    require_encoder(index.stored, opened.encoder_facts(), folder)
    return opened


def validated_threshold(opened: OpenRun) -> Threshold | None:
    """Return the threshold on the score that the run's validation gives for a precision of WANTED.

    None where the run has not ended, no score reaches it, or the embeddings are not those that were validated.
    """
    config, run = opened.config, opened.run
    if run is None or not run.summary.is_file() or config.truncate is not None:
        return None
    if opened.image_size != opened.trained.loader.image_size:
        return None
    record = read_record(run.path)
    found = ScorePrecision.of(record.validation[record.best]).threshold
    return None if found is None else Threshold(found, WANTED)


def _stored_threshold(opened: OpenRun) -> dict[str, float]:
    found = validated_threshold(opened)
    return {} if found is None else asdict(found)


def _refresh(index: Index, opened: OpenRun, manifest: Manifest, console: Console) -> Changes:
    now = manifest.table.select("path", "label").with_columns(content=pl.Series(_contents(manifest), dtype=pl.String))
    both = now.join(index.images, on="path", how="left", suffix="_before", maintain_order="left")
    same = (pl.col("content") == pl.col("content_before")).fill_null(False)
    relabelled = both.filter(same, pl.col("label").ne_missing(pl.col("label_before")))
    entering = both.with_row_index("place").filter(~same)
    changed = entering.filter(pl.col("id").is_not_null())
    gone = index.images.join(now, on="path", how="anti")
    leaving = np.concatenate([gone["id"].to_numpy(), changed["id"].to_numpy()])
    if len(leaving) == len(index):
        raise DataError(f"none of the {len(index)} images of the index is left in {manifest.root}: make it again")
    vectors, encoded = _vectors(index, opened, manifest, entering, console)
    index.relabel(dict(relabelled.select("id", "label").iter_rows()))
    how = index.remove(leaving) if len(leaving) else ""
    if entering.height:
        index.add(vectors, *(entering[name].to_list() for name in ("path", "label", "content")))
    new = entering.height - changed.height
    return Changes(new, changed.height, gone.height, relabelled.height, encoded, how)


def _vectors(
    index: Index, opened: OpenRun, manifest: Manifest, entering: pl.DataFrame, console: Console
) -> tuple[FloatArray, int]:
    """Return the vectors of images that enter, and how many were encoded: an equal image may be in the index."""
    row_of = {content: row for row, content in enumerate(index.images["content"]) if content is not None}
    rows = np.array([row_of.get(content, -1) for content in entering["content"]], np.int64)
    vectors = np.array(index.vectors[np.maximum(rows, 0)])
    places: IntArray = entering["place"].cast(pl.Int64).to_numpy()[rows < 0]
    if places.size:
        vectors[rows < 0] = opened.embed_images(opened.embedder, manifest, places, console).vectors
    return vectors, int(places.size)


def _contents(manifest: Manifest) -> list[str]:
    return [content_hash(manifest.path(sample_id)) for sample_id in range(len(manifest))]


def _output(opened: OpenRun, named: str | None) -> Path:
    """The folder that was named, else `index` in the run."""
    if named:
        return Path(named).expanduser()
    if opened.run is None:
        raise ConfigError("an index of weights without a run needs a folder: output=FOLDER")
    return opened.run.index


def _copy_of(file: Path | None) -> Callable[[Path], None] | None:
    if file is None:
        return None

    def write(path: Path) -> None:
        copyfile(file, path)

    return write


def _export(opened: OpenRun, file: Path, console: Console) -> Path | None:
    """Write the network to an ONNX file; None, and a line on why, where that cannot be done."""
    reason = "ONNX Runtime is not installed; pip install 'conspecific[onnx]' and make the index again"
    if can_open():
        network: Any = opened.embedder.eval().cpu()
        try:
            write_query_encoder(network, opened.image_size, file)
            return file
        except Exception as error:  # exporters raise errors of any kind; the index is complete without its network
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
    told = f"The network is not in the index, and a search takes seconds longer to begin: {reason}."
    console.print(told, soft_wrap=True, highlight=False)
    return None
