"""Score refined answers through the one scoring path."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from conspecific.config.refine import RefineConfig
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.evaluation.evaluate import evaluate
from conspecific.index.flip import flip_averaged
from conspecific.index.refined import make_refined
from conspecific.index.whitening import whiten
from conspecific.types import EmbeddingSet, EvalResult, Similarity


def evaluate_refined(
    embeddings: EmbeddingSet,
    flipped: EmbeddingSet | None,
    subset: Subset,
    manifest: Manifest,
    metric: Similarity,
    config: RefineConfig,
    facts: Mapping[str, Any],
    ks: Sequence[int],
) -> EvalResult:
    """Score what `config` makes of embeddings: averaged with those of mirrored images, whitened, then searched.

    flipped: embeddings of the same images, mirrored; None where `config.flip` is false. The axes of the whitening come
    from the gallery.
    """
    if flipped is not None:
        embeddings = flip_averaged(embeddings, flipped, metric)
    gallery = embeddings.select(subset.gallery)
    if config.whitening:
        vectors = whiten(embeddings.vectors, gallery.vectors)
        embeddings = EmbeddingSet(vectors, embeddings.ids, embeddings.labels)
        gallery = embeddings.select(subset.gallery)
    searcher = make_refined(gallery, metric, config)
    return evaluate(embeddings, subset, manifest, metric, {**facts, "refine": asdict(config)}, ks, searcher=searcher)
