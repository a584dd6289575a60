"""Images to embeddings: the loop that every encoding goes through."""

import math
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from conspecific.data.dataset import EvaluationImages
from conspecific.evaluation.store import unnamed_file, usable_bytes
from conspecific.models import Backbone, Embedder, keep_freed_memory
from conspecific.progress import progress_bar
from conspecific.types import EmbeddingSet, FloatArray

Activations = FloatArray | NDArray[np.float16]
IN_MEMORY_BYTES = 2 << 30  # embeddings larger than this live in a memory-mapped temporary file


def embed(
    embedders: Sequence[Embedder],
    images: EvaluationImages,
    *,
    batch_size: int = 32,
    workers: int = 2,
    device: torch.device | str = "cpu",
    title: str = "Embedding",
    console: Console | None = None,
    activations: Activations | None = None,
) -> list[EmbeddingSet]:
    """Embed images with embedders that share one backbone, which runs once an image for all of them.

    activations: what `frozen_activations` gave for these images; then only the trained stages run, and no image is
    read.

    Decoding happens in `workers` threads ahead of the network (Pillow lets go of the interpreter lock while it decodes
    and resizes), so nothing is forked. Returns one EmbeddingSet for each embedder, rows in the order of `images`.
    """
    backbone = embedders[0].backbone
    assert all(embedder.backbone is backbone for embedder in embedders), "embedders must share their backbone"
    keep_freed_memory()
    modes = [embedder.training for embedder in embedders]
    for embedder in embedders:
        embedder.eval().to(device)  # not in inference mode: weights moved there could not be trained after
    vectors: list[FloatArray] = []
    done = 0
    try:
        with torch.inference_mode(), progress_bar(console) as progress:
            task = progress.add_task(title, total=len(images))
            for features in _features(backbone, images, activations, batch_size, workers, device):
                for number, embedder in enumerate(embedders):
                    block = embedder.forward_head(features).cpu().numpy()
                    if done == 0:
                        vectors.append(_store((len(images), block.shape[1])))
                    vectors[number][done : done + len(block)] = block
                done += len(features)
                progress.update(task, completed=done)
    finally:
        for embedder, mode in zip(embedders, modes, strict=True):
            embedder.train(mode)
    labels = images.manifest.labels[images.ids]
    return [EmbeddingSet(array, images.ids, labels) for array in vectors]


def frozen_activations(
    backbone: Backbone,
    images: EvaluationImages,
    *,
    batch_size: int = 32,
    workers: int = 2,
    device: torch.device | str = "cpu",
    title: str = "Encoding",
    console: Console | None = None,
) -> FloatArray:
    """Return what the frozen stages of a backbone that `is_cut` make of images, [N, ...], for epochs to finish."""
    keep_freed_memory()
    backbone.to(device)
    found: FloatArray | None = None
    done = 0
    with torch.inference_mode(), progress_bar(console) as progress:
        task = progress.add_task(title, total=len(images))
        for batch in _batches(images, batch_size, workers):
            block = backbone.activations(batch.to(device, non_blocking=True)).cpu().numpy()
            found = _store((len(images), *block.shape[1:])) if found is None else found
            found[done : done + len(block)] = block
            done += len(block)
            progress.update(task, completed=done)
    assert found is not None, "no part of a split is empty"
    return found


def has_room(bytes_needed: int) -> bool:
    """Whether an array can be kept: in memory where it is small, else in half of the free disk for temporary files."""
    return bytes_needed <= max(IN_MEMORY_BYTES, usable_bytes(Path(tempfile.gettempdir())))


def _features(
    backbone: Backbone,
    images: EvaluationImages,
    activations: Activations | None,
    batch_size: int,
    workers: int,
    device: torch.device | str,
) -> Iterator[Tensor]:
    """Yield feature maps [B, C, h, w], from the images or from what the frozen stages made of them."""
    if activations is None:
        for batch in _batches(images, batch_size, workers):
            yield backbone(batch.to(device, non_blocking=True))
        return
    for start in range(0, len(activations), batch_size):
        yield backbone.forward_tail(torch.from_numpy(activations[start : start + batch_size]).to(device).float())


def _batches(images: EvaluationImages, batch_size: int, workers: int) -> Iterator[Tensor]:
    """Yield images [B, 3, H, W] in order, decoded by threads up to two batches ahead."""
    ahead: deque[list[Future[Tensor]]] = deque()
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for start in range(0, len(images), batch_size):
            stop = min(start + batch_size, len(images))
            ahead.append([pool.submit(lambda place: images[place]["image"], place) for place in range(start, stop)])
            if len(ahead) > 2:
                yield torch.stack([future.result() for future in ahead.popleft()])
        while ahead:
            yield torch.stack([future.result() for future in ahead.popleft()])


def _store(shape: tuple[int, ...]) -> FloatArray:
    if math.prod(shape) * 4 <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.float32)
    return unnamed_file(Path(tempfile.gettempdir()), shape, np.float32)
