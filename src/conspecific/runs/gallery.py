"""Make the index of a run's gallery, and open the run of an index."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from conspecific.config.schema import IndexConfig, UseConfig
from conspecific.config.targets import check_targets
from conspecific.data.manifest import Manifest
from conspecific.encoding.query_encoder import can_write, write_query_encoder
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation.score_precision import ScorePrecision
from conspecific.evaluation.taxonomy import sure_shares
from conspecific.index import Index
from conspecific.index.flip import flip_averaged
from conspecific.index.folder import require_replaceable
from conspecific.index.gallery_index import require_encoder
from conspecific.metrics import TPR
from conspecific.runs.answers import Threshold
from conspecific.runs.changes import hash_contents
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.within_species import read_within_species
from conspecific.types import EmbeddingSet

SOURCE = ("run", "weights", "model", "image_size", "truncate")  # keys by which the embeddings are computed again


def make_index(opened: OpenRun, console: Console) -> tuple[Path, Index]:
    """Build an index over the images that were asked for, and write it; return its folder and the index.

    Embeddings that `embed` or `search` left are used. The network is written beside them where OpenVINO or ONNX Runtime
    is installed, so that a search need not import torch.
    """
    config = opened.config
    assert isinstance(config, IndexConfig)
    folder = _output(opened, config.output)
    require_replaceable(folder)  # before the work, not after
    place, manifest, embeddings = opened.embed_all(console)
    if config.flip:
        mirrored = opened.embed_mirrored(manifest, place, console)
        embeddings = flip_averaged(embeddings, mirrored, opened.embedder.metric)
    contents, memory = hash_contents(manifest), config.memory_gb
    index = build_index(opened, manifest, embeddings, config.kind, config.flip, contents=contents, memory_gb=memory)
    with TemporaryDirectory() as scratch:
        index.save(folder, cache=opened.cache, encoder=write_network(opened, Path(scratch), console))
    return folder, index


def build_index(
    opened: OpenRun,
    manifest: Manifest,
    embeddings: EmbeddingSet,
    kind: str,
    flip: bool = False,
    source: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Index:
    """Build an index of all images of a manifest.

    flip: whether the embeddings are averaged with those of mirrored images. source, facts: what the index says besides
    where it comes from.
    """
    own = {key: getattr(opened.config, key) for key in SOURCE}
    return Index.build(
        embeddings.vectors,
        manifest.table["path"].to_list(),
        manifest.table["label"].to_list(),
        kind=kind,
        similarity=opened.embedder.metric,
        encoder={**opened.encoder_facts(), **({"flip": True} if flip else {})},
        source={**own, **_places(opened), "data": opened.data(), **_ranks(opened, manifest), **(source or {})},
        root=str(manifest.root.absolute()),
        within=read_within_species(opened),
        threshold={} if flip else _stored_threshold(opened),  # it is one of plain scores
        **facts,
    )


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
    require_encoder(index.stored, {**opened.encoder_facts(), **({"flip": True} if index.flip else {})}, folder)
    return opened


def validated_threshold(opened: OpenRun) -> Threshold | None:
    """Return the score below which a query is probably of none of the species, by the run's validation.

    None where the run has not ended, or the embeddings are not those that were validated.
    """
    found = opened.validation
    return Threshold(ScorePrecision.of(found["model"]).threshold, TPR) if found else None


def _stored_threshold(opened: OpenRun) -> dict[str, float]:
    found = validated_threshold(opened)
    return {} if found is None else asdict(found)


def validated_shares(opened: OpenRun) -> dict[str, float]:
    """Return the shares of votes from which on an answer at a rank is sure, by the run's validation."""
    found = opened.validation
    return sure_shares(found["model"]) if found else {}


def _ranks(opened: OpenRun, manifest: Manifest) -> dict[str, Any]:
    return {"taxa": manifest.taxa, "sure": validated_shares(opened)} if manifest.taxa else {}


def _places(opened: OpenRun) -> dict[str, str]:
    """Return the run, or the weights, as an absolute path: an index is used from any folder."""
    run = opened.run
    return {"weights": str(opened.weights.absolute())} if run is None else {"run": str(run.path.absolute())}


def _output(opened: OpenRun, named: str | None) -> Path:
    """The folder that was named, else `index` in the run."""
    if named:
        return Path(named).expanduser()
    if opened.run is None:
        raise ConfigError("an index of weights without a run needs a folder: output=FOLDER")
    return opened.run.index


def write_network(opened: OpenRun, folder: Path, console: Console) -> list[Path]:
    """Write the network for another backend, and return its files; none, and a line on why, where that cannot be
    done."""
    reason = "neither OpenVINO nor ONNX Runtime is installed; pip install 'conspecific[onnx]' and make the index again"
    if can_write():
        network: Any = opened.embedder.eval().cpu()
        try:
            return write_query_encoder(network, opened.image_size, folder)
        except Exception as error:  # exporters raise errors of any kind; the index is complete without its network
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
    told = f"The network is not in the index, and a search takes seconds longer to begin: {reason}."
    console.print(told, soft_wrap=True, highlight=False)
    return []
