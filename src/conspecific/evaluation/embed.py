"""Embeddings of images of a manifest, and the activations that epochs start from."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from conspecific.data.dataset import EvaluationImages
from conspecific.encoding import Encoder, Rows
from conspecific.files import scratch_array
from conspecific.models import Embedder, keep_freed_memory
from conspecific.models.encode import decoded, embed_batches
from conspecific.progress import progress_bar
from conspecific.types import EmbeddingSet, FloatArray

Activations = FloatArray | NDArray[np.float16]
HALF = torch.finfo(torch.float16).max  # single activations of some networks are larger


def embed(
    embedders: Sequence[Embedder],
    images: EvaluationImages,
    *,
    batch_size: int = 32,
    workers: int = 2,
    device: torch.device | str = "cpu",
    title: str = "Embedding",
    console: Console | None = None,
    activations: Rows | None = None,
    encoder: Encoder | None = None,
) -> list[EmbeddingSet]:
    """Embed images with embedders that share one backbone, which runs once an image for all of them.

    workers: threads that decode images ahead of the network. activations: the result of `frozen_activations` for these
        images; only the trained stages run then, and no image is read. encoder: of the whole backbone; None: torch.
    Returns one EmbeddingSet for each embedder, rows in the order of `images`.
    Raises OSError for an image that cannot be read.
    """
    backbone = embedders[0].backbone
    assert all(embedder.backbone is backbone for embedder in embedders), "embedders must share their backbone"

    def to_features(batch: Tensor) -> Tensor:
        if activations is not None:
            return backbone.forward_tail(batch.float())
        return backbone(batch) if encoder is None else encoder(batch).to(backbone.mean.device)

    assert activations is None or len(activations) == len(images), "activations must be those of the images"
    batches = _decoded(images, batch_size, workers) if activations is None else _stored(activations, batch_size)
    vectors: list[FloatArray] = []
    done, scratch = 0, Path(tempfile.gettempdir())
    with progress_bar(console) as progress:
        task = progress.add_task(title, total=len(images))
        for blocks in embed_batches(embedders, batches, to_features, device):
            vectors = vectors or [scratch_array((len(images), block.shape[1]), np.float32, scratch) for block in blocks]
            for array, block in zip(vectors, blocks, strict=True):
                array[done : done + len(block)] = block
            done += len(blocks[0])
            progress.update(task, completed=done)
    labels = images.manifest.labels[images.ids]
    return [EmbeddingSet(array, images.ids, labels) for array in vectors]


def frozen_activations(
    frozen: Encoder,
    images: EvaluationImages,
    *,
    batch_size: int = 32,
    workers: int = 2,
    title: str = "Encoding",
    console: Console | None = None,
) -> Iterator[Activations]:
    """Yield the activations of images, [B, ...], float32, or float16 where they were computed in bfloat16.

    frozen: the encoder of a backbone's frozen stages. Half precision keeps all digits of bfloat16, but not its range:
    larger values are clipped.
    """
    keep_freed_memory()
    with progress_bar(console) as progress:
        task = progress.add_task(title, total=len(images))
        for batch in _decoded(images, batch_size, workers):
            block = frozen(batch).cpu()
            yield (half(block) if frozen.precision == "bfloat16" else block).numpy()
            progress.advance(task, len(block))


def half(activations: Tensor) -> Tensor:
    """Return activations in half precision; values beyond its range become the nearest in it."""
    return activations.clamp(-HALF, HALF).half()


def _decoded(images: EvaluationImages, batch_size: int, workers: int) -> Iterator[Tensor]:
    return decoded(range(len(images)), lambda place: images[place]["image"], batch_size, workers)


def _stored(activations: Rows, batch_size: int) -> Iterator[Tensor]:
    for start in range(0, len(activations), batch_size):
        yield torch.from_numpy(activations[start : start + batch_size])
