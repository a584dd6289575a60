"""Pictures to embeddings: the loop that every encoding goes through."""

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from conspecific.data.dataset import EvaluationPictures
from conspecific.data.progress import progress_bar
from conspecific.models import Embedder, keep_freed_memory
from conspecific.types import EmbeddingSet, FloatArray

IN_MEMORY_BYTES = 2 << 30  # embeddings larger than this live in a memory-mapped temporary file


def embed(
    embedders: Sequence[Embedder],
    pictures: EvaluationPictures,
    *,
    batch_size: int = 32,
    workers: int = 2,
    device: torch.device | str = "cpu",
    title: str = "Embedding",
    console: Console | None = None,
) -> list[EmbeddingSet]:
    """Embed pictures with embedders that share one backbone, which runs once a picture for all of them.

    Decoding happens in `workers` threads ahead of the network (Pillow lets go of the interpreter lock while it decodes
    and resizes), so nothing is forked. Returns one EmbeddingSet for each embedder, rows in the order of `pictures`.
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
            task = progress.add_task(title, total=len(pictures))
            for images in _batches(pictures, batch_size, workers):
                features = backbone(images.to(device, non_blocking=True))
                for number, embedder in enumerate(embedders):
                    block = embedder.read_out(features).cpu().numpy()
                    if done == 0:
                        vectors.append(_store(len(pictures), block.shape[1]))
                    vectors[number][done : done + len(block)] = block
                done += len(images)
                progress.update(task, completed=done)
    finally:
        for embedder, mode in zip(embedders, modes, strict=True):
            embedder.train(mode)
    labels = pictures.manifest.labels[pictures.ids]
    return [EmbeddingSet(array, pictures.ids, labels) for array in vectors]


def _batches(pictures: EvaluationPictures, batch_size: int, workers: int) -> Iterator[Tensor]:
    """Yield images [B, 3, H, W] in order, decoded by threads up to two batches ahead."""
    ahead: deque[list[Future[Tensor]]] = deque()
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for start in range(0, len(pictures), batch_size):
            stop = min(start + batch_size, len(pictures))
            ahead.append([pool.submit(lambda place: pictures[place]["image"], place) for place in range(start, stop)])
            if len(ahead) > 2:
                yield torch.stack([future.result() for future in ahead.popleft()])
        while ahead:
            yield torch.stack([future.result() for future in ahead.popleft()])


def _store(count: int, dimensions: int) -> FloatArray:
    if count * dimensions * 4 <= IN_MEMORY_BYTES:
        return np.empty((count, dimensions), dtype=np.float32)
    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(prefix="conspecific-", suffix=".f32", dir=folder) as file:
        # the file has no name once it is closed and goes with the last reference to the map
        return np.memmap(file, dtype=np.float32, mode="w+", shape=(count, dimensions))
