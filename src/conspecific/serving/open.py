"""From a run to a gallery that is ready to answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from torch import Tensor

from conspecific.config.refine import RefineConfig
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError
from conspecific.evaluation import device_for
from conspecific.evaluation.score_precision import ScorePrecision
from conspecific.models import Embedder
from conspecific.runs.open import OpenRun
from conspecific.runs.record import read_result, read_splits
from conspecific.runs.reference import embed_by_reference
from conspecific.serving.gallery import Encoded, ServedGallery
from conspecific.types import EmbeddingSet

EXAMPLES = 8


def open_gallery(opened: OpenRun, console: Console, refine: RefineConfig) -> ServedGallery:
    """Embed the images that are searched, unless that was done before. refine: of the model's answers."""
    folder, manifest, embeddings = opened.embed_all(console)
    model = _encoded(opened, "Model of the run", "model", opened.embedder, manifest, embeddings, console)
    if refine.name:  # what scores were worth on validation was measured on plain ones
        model = replace(model, name=f"{model.name}, refined by {refine.name}", refine=refine, precision=None)
    try:
        reference, others = embed_by_reference(opened, folder, console)
        beside = _encoded(opened, "Before training", "pooled", reference, manifest, others, console)
        missing = ""
    except ConfigError as error:
        beside, missing = None, f"There is no answer of the baseline: {error}."
        console.print(missing, soft_wrap=True, highlight=False)
    return ServedGallery(
        run=_name(opened),
        manifest=manifest,
        image_size=opened.image_size,
        model=model,
        reference=beside,
        no_reference=missing,
        examples=_examples(opened, manifest),
    )


def _encoded(
    opened: OpenRun,
    name: str,
    result: str,
    embedder: Embedder,
    manifest: Manifest,
    embeddings: EmbeddingSet,
    console: Console,
) -> Encoded:
    """Return the gallery under one network. result: its name among the results of the run on validation."""
    images = EvaluationImages(manifest, np.arange(len(manifest)), opened.image_size)
    device = device_for(opened.config.device)
    encoder = opened.encoder(embedder, images, len(images), console)  # that of the gallery, also for queries

    def to_features(batch: Tensor) -> Tensor:
        return encoder(batch).to(device)

    return Encoded(name, embedder, to_features, device, embeddings, _precision(opened, result))


def _precision(opened: OpenRun, name: str) -> ScorePrecision | None:
    """Return what scores were worth on validation; None where the embeddings are not those that were scored there."""
    run, trained = opened.run, opened.trained
    same = opened.config.truncate is None and opened.image_size == trained.loader.image_size
    if run is None or opened.weights != run.weights or not same or not (run.results / f"val_{name}.json").is_file():
        return None
    return ScorePrecision.of(read_result(run, "val", name))


def _name(opened: OpenRun) -> str:
    path = opened.weights if opened.run is None else opened.run.path
    return "/".join(Path(path).absolute().parts[-2:])


def _examples(opened: OpenRun, manifest: Manifest) -> tuple[int, ...]:
    """Return some test queries of the run, evenly spaced; of other images, some of them."""
    ids = np.arange(len(manifest))
    if opened.run is not None and opened.has_own_images:
        queries = read_splits(opened.run).filter("test_query")["path"]
        ids = np.flatnonzero(manifest.table["path"].is_in(queries.to_list()).to_numpy())
    places = np.unique(np.linspace(0, len(ids) - 1, min(EXAMPLES, len(ids))).astype(np.int64))
    return tuple(ids[places].tolist())
