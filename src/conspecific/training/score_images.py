"""Scoring images with the `forward` of any LightningModule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from conspecific.errors import DataError
from conspecific.evaluation.arrays import evaluate
from conspecific.metrics import KS
from conspecific.training.batch import as_mapping
from conspecific.types import EvalResult, Similarity

Images = Dataset[Any] | Sequence[Any]


@dataclass(frozen=True)
class Embedded:
    """Embeddings [N, D] float32, N labels, and the `index` of each item where the items have one."""

    vectors: Tensor
    labels: list[int | str]
    index: list[int] | None


def score_images(
    module: pl.LightningModule,
    images: Images,
    gallery: Images | None = None,
    similarity: Similarity = "cosine",
    ks: Sequence[int] = KS,
    batch_size: int = 32,
    num_workers: int = 0,
) -> EvalResult:
    """Embed images with `module`, search each in the gallery, and score the answers.

    The arguments are those of `RetrievalCallback`. Raises DataError where no image has another one of its label.
    """
    queries = embed_images(module, images, batch_size, num_workers)
    if gallery is None:
        return evaluate(queries.vectors, queries.labels, metric=similarity, ks=ks)
    found = embed_images(module, gallery, batch_size, num_workers)
    known = queries.index is not None and found.index is not None  # which images are the same
    return evaluate(
        queries.vectors,
        queries.labels,
        gallery=found.vectors,
        gallery_labels=found.labels,
        ids=queries.index if known else None,
        gallery_ids=found.index if known else None,
        metric=similarity,
        ks=ks,
    )


@torch.no_grad()
def embed_images(module: pl.LightningModule, images: Images, batch_size: int, num_workers: int) -> Embedded:
    """Embed images in evaluation mode, in the precision of the module's trainer.

    Every submodule is in its previous mode afterwards.
    """
    data: Any = list(zip(*images, strict=True)) if isinstance(images, tuple) else images
    precision, modes = module.trainer.precision_plugin, [(each, each.training) for each in module.modules()]
    vectors: list[Tensor] = []
    labels: list[int | str] = []
    index: list[int] = []
    module.eval()
    try:
        for batch in map(as_mapping, DataLoader(data, batch_size=batch_size, num_workers=num_workers)):
            with precision.forward_context():
                found = module(precision.convert_input(batch["image"].to(module.device)))
            if found.ndim != 2:
                raise DataError(f"forward must return embeddings of shape [B, D]; found {tuple(found.shape)}")
            vectors.append(found.float().cpu())
            labels += batch["label"].tolist() if isinstance(batch["label"], Tensor) else batch["label"]
            index += batch["index"].tolist() if "index" in batch else []
    finally:
        for each, mode in modes:
            each.training = mode
    if not vectors:
        raise DataError("there are no images to score")
    return Embedded(torch.cat(vectors), labels, index or None)
