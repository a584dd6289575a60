"""From a run or an index to a gallery that is ready to answer."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from conspecific.config.refine import RefineConfig
from conspecific.config.schema import ServeConfig
from conspecific.data.dataset import EvaluationImages, evenly_spaced
from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError, DataError
from conspecific.evaluation import device_for
from conspecific.evaluation.score_precision import ScorePrecision
from conspecific.images import file_of
from conspecific.index import GallerySearcher, Index
from conspecific.index.flip import flip_averaged
from conspecific.index.refined import gallery_axes
from conspecific.models import Embedder
from conspecific.runs.changes import hash_contents
from conspecific.runs.gallery import open_for
from conspecific.runs.local import open_ranking, require_plain
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.record import read_result, read_splits, trained_images
from conspecific.runs.reference import embed_by_reference
from conspecific.runs.search import indexed_images, named_index, require_held
from conspecific.runs.within_species import asked_within_species
from conspecific.serving.gallery import Encoded, ServedGallery
from conspecific.types import EmbeddingSet, FloatArray

EXAMPLES = 8


@dataclass(frozen=True)
class Embedded:
    """The images that are searched, embedded by the model of a run.

    place: the run or index that they come from. embeddings: row for row those of `manifest`. folder: where embeddings
    of these images are kept. unknown: [N], which of them the run is not known to be trained on. contents: hash of each
    file, None where it is not known. plain: their search. flip: whether embeddings are averaged with those of mirrored
    images already. within: covariance of embeddings within species, where `refine.wiener` asks for it.
    """

    place: Path
    manifest: Manifest
    embeddings: EmbeddingSet
    folder: Path
    unknown: NDArray[np.bool_]
    contents: tuple[str | None, ...]
    plain: GallerySearcher | None = None
    flip: bool = False
    within: FloatArray | None = None


def open_gallery(config: ServeConfig, console: Console) -> ServedGallery:
    """Open what `config.run` names: a run, whose images are embedded unless that was done before, or an index.

    Raises RunError for what is neither, damaged, or of other weights, ConfigError for keys, and DataError for images.
    """
    if (place := named_index(config)) is None:
        opened = open_run(config)
        within = asked_within_species(opened, config.refine)
        images = replace(_images_of_run(opened, console), within=within)
    else:
        index = Index.open(place, cache=Path(config.paths.cache).expanduser(), say=partial(_say, console))
        require_held(index, place, config.refine)
        if config.local:
            require_plain(index, place)
        opened = open_for(index, place, config)
        images = _images_of_index(index, place, opened, config)
        _say(console, f"Index: {place}, {len(index):,} images, {index.kind}{', flip' * index.flip}")
    model = _refined(opened, images, config.refine, console)
    reference, missing = _reference(opened, images, console)
    return ServedGallery(
        run="/".join(images.place.absolute().parts[-2:]),
        manifest=images.manifest,
        image_size=opened.image_size,
        model=model,
        reference=reference,
        local=_local(opened, images.manifest, model, config, console) if config.local else None,
        no_reference=missing,
        examples=_examples(images),
        contents=images.contents,
    )


def _images_of_run(opened: OpenRun, console: Console) -> Embedded:
    folder, manifest, embeddings = opened.embed_all(console)
    unknown, place = np.ones(len(manifest), np.bool_), opened.weights if opened.run is None else opened.run.path
    if opened.run is None or not opened.has_own_images:
        return Embedded(place, manifest, embeddings, folder, unknown, tuple(hash_contents(manifest)))
    splits = read_splits(opened.run)
    unknown = manifest.table["path"].is_in(splits.filter("test_query")["path"].to_list()).to_numpy()
    recorded = manifest.table.join(splits.select("path", "content"), on="path", how="left", maintain_order="left")
    return Embedded(place, manifest, embeddings, folder, unknown, tuple(recorded["content"]))


def _images_of_index(index: Index, place: Path, opened: OpenRun, config: ServeConfig) -> Embedded:
    """Raises ConfigError for an index of another machine that is to choose which folder is shown, and DataError where
    images are not there.
    """
    assert index.contents is not None, "it was opened from a folder"
    if not index.contents.sealed and "root" not in (config.data or {}):
        raise ConfigError(f"{place} was written on another machine: say where its images are, data.root=FOLDER")
    manifest = indexed_images(index, config)
    missing = [path for path in manifest.table["path"] if not (manifest.root / file_of(path)).is_file()]
    if missing:
        raise DataError(
            f"{len(missing):,} of the {len(index):,} images of {place} are not in {manifest.root}, first {missing[0]}: "
            f"say where they are, data.root=FOLDER, or take out what is gone, conspecific index {place} refresh=true"
        )
    embeddings = EmbeddingSet(index.vectors, index.images["id"].to_numpy(), manifest.labels)
    folder = opened.embeddings_folder(manifest.fingerprint(), opened.encoder_facts()["weights"])
    unknown = np.ones(len(manifest), np.bool_)
    if opened.run is not None and opened.run.splits.is_file():
        trained = trained_images(opened.run)["content"].to_list()
        unknown = ~index.images["content"].is_in(trained).fill_null(False).to_numpy()
    contents = tuple(index.images["content"])
    return Embedded(place, manifest, embeddings, folder, unknown, contents, index.searcher, index.flip, index.within)


def _refined(opened: OpenRun, images: Embedded, refine: RefineConfig, console: Console) -> Encoded:
    """Return the gallery under the model of the run, averaged with mirrored images, whitened or filtered."""
    model = _encoded(opened, "Model of the run", "model", opened.embedder, images, console)
    embeddings = images.embeddings
    if refine.flip and not images.flip:
        mirrored = opened.embed_mirrored(images.manifest, images.folder, console)
        embeddings = flip_averaged(embeddings, mirrored, opened.embedder.metric)
    if (axes := gallery_axes(refine, embeddings.vectors, images.within)) is not None:
        embeddings = replace(embeddings, vectors=axes(embeddings.vectors))
    plain = images.plain if embeddings is images.embeddings else None
    refine = replace(refine, flip=refine.flip or images.flip)  # queries are averaged where the gallery is
    return replace(model, embeddings=embeddings, refine=refine, plain=plain, axes=axes)


def _local(opened: OpenRun, manifest: Manifest, model: Encoded, asked: ServeConfig, console: Console) -> Encoded:
    """Return the gallery under the model of the run, the first answers re-ranked."""
    row_of = {sample_id: row for row, sample_id in enumerate(model.embeddings.ids.tolist())}
    ranking = open_ranking(opened, asked, manifest, row_of, console)
    return replace(model, local=ranking, precision=ranking.precision)


def _reference(opened: OpenRun, images: Embedded, console: Console) -> tuple[Encoded | None, str]:
    """Return the gallery under the network before training, or None and why there is none."""
    try:
        reference, embeddings = embed_by_reference(opened, images.manifest, images.folder, console)
    except ConfigError as error:
        missing = f"There is no answer of the baseline: {error}."
        _say(console, missing)
        return None, missing
    found = EmbeddingSet(embeddings.vectors, images.embeddings.ids[embeddings.ids], embeddings.labels)
    return _encoded(opened, "Before training", "pooled", reference, replace(images, embeddings=found), console), ""


def _encoded(
    opened: OpenRun, name: str, result: str, embedder: Embedder, images: Embedded, console: Console
) -> Encoded:
    """Return the gallery under one network. result: its name among the results of the run on validation."""
    count = len(images.manifest)
    sampled = EvaluationImages(images.manifest, np.arange(count), opened.image_size)
    device = device_for(opened.config.device)
    encoder = opened.encoder(embedder, sampled, count, console)  # that of the gallery, also for queries

    def to_features(batch: Tensor) -> Tensor:
        return encoder(batch).to(device)

    return Encoded(name, embedder, to_features, device, images.embeddings, _precision(opened, result))


def _precision(opened: OpenRun, name: str) -> ScorePrecision | None:
    """Return what scores were worth on validation; None where the embeddings are not those that were scored there."""
    run = opened.run
    if run is None or not opened.is_as_validated or not (run.results / f"val_{name}.json").is_file():
        return None
    return ScorePrecision.of(read_result(run, "val", name))


def _examples(images: Embedded) -> tuple[int, ...]:
    """Return some images that the run was not trained on, evenly spaced; some of all where it was trained on each."""
    rows = np.flatnonzero(images.unknown if images.unknown.any() else np.ones(len(images.manifest)))
    return tuple(images.embeddings.ids[rows[evenly_spaced(len(rows), EXAMPLES)]].tolist())


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False)
