"""Score refined answers through the one scoring path."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from conspecific.config.refine import RefineConfig
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.evaluation.evaluate import evaluate, with_groups
from conspecific.index.flip import flip_averaged
from conspecific.index.refined import gallery_axes, make_refined
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, Similarity


def evaluate_refined(
    embeddings: EmbeddingSet,
    flipped: EmbeddingSet | None,
    subset: Subset,
    manifest: Manifest,
    metric: Similarity,
    config: RefineConfig,
    facts: Mapping[str, Any],
    ks: Sequence[int],
    exclude_group: bool = False,
    within: FloatArray | None = None,
) -> EvalResult:
    """Score what `config` makes of embeddings: averaged with those of mirrored images, whitened or filtered, then
    searched.

    flipped: embeddings of the same images, mirrored; None where `config.flip` is false. The axes of whitening and
    filter come from the gallery. exclude_group: see `evaluate`. within: see `gallery_axes`.
    """
    if flipped is not None:
        embeddings = flip_averaged(embeddings, flipped, metric)
    if exclude_group:
        embeddings = with_groups(embeddings, manifest)
    gallery = embeddings.select(subset.gallery)
    if (axes := gallery_axes(config, gallery.vectors, within)) is not None:
        embeddings = replace(embeddings, vectors=axes(embeddings.vectors))
        gallery = embeddings.select(subset.gallery)
    searcher = make_refined(gallery, metric, config)
    told = {**facts, "refine": asdict(config)}
    return evaluate(embeddings, subset, manifest, metric, told, ks, searcher=searcher, exclude_group=exclude_group)
