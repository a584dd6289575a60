"""The loop that every encoding goes through: images are decoded in threads ahead of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from conspecific.errors import ConfigError, RunError
from conspecific.models.allocator import keep_freed_memory
from conspecific.types import FloatArray

if TYPE_CHECKING:
    from conspecific.models.embedder import Embedder

T = TypeVar("T")
BATCHES_AHEAD = 2


def decoded(images: Iterable[T], decode: Callable[[T], Tensor], batch_size: int, workers: int) -> Iterator[Tensor]:
    """Yield batches [B, 3, H, W] in the order of `images`, decoded by threads up to two batches ahead.

    Pillow releases the interpreter lock while it decodes and resizes, so that threads are enough and nothing is forked.
    decode: returns [3, H, W], of one size for all images. Its errors are raised when its batch is due.
    """
    ahead: deque[list[Future[Tensor]]] = deque()
    remaining = iter(images)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        while batch := list(islice(remaining, batch_size)):
            ahead.append([pool.submit(decode, image) for image in batch])
            if len(ahead) > BATCHES_AHEAD:
                yield torch.stack([future.result() for future in ahead.popleft()])
        while ahead:
            yield torch.stack([future.result() for future in ahead.popleft()])


def embed_batches(
    embedders: Sequence["Embedder"],
    batches: Iterable[Tensor],
    to_features: Callable[[Tensor], Tensor],
    device: torch.device | str,
) -> Iterator[list[FloatArray]]:
    """Yield, for each batch, its embeddings [B, D] by each embedder; the feature maps are computed once for all.

    to_features: from a batch on the device to feature maps [B, C, h, w], the backbone that the embedders share or its
        trained stages. Embedders are moved to the device, run in evaluation mode and get their own mode back.
    Raises RunError for an embedding with NaN or Inf, which no search could rank.
    """
    keep_freed_memory()
    done = 0
    modes = [embedder.training for embedder in embedders]
    for embedder in embedders:
        embedder.eval().to(device)  # not in inference mode: weights moved there could not be trained after
    try:
        for batch in batches:
            with torch.inference_mode():
                features = to_features(batch.to(device, non_blocking=True))
                blocks = [embedder.forward_head(features).cpu().numpy() for embedder in embedders]
            for block in blocks:
                _require_finite(block, done)
            done += len(batch)
            yield blocks
    finally:
        for embedder, mode in zip(embedders, modes, strict=True):
            embedder.train(mode)


def _require_finite(block: FloatArray, before: int) -> None:
    broken = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if broken.size:
        found = f"{broken.size} of {len(block)} embeddings hold NaN or Inf, the first that of image"
        raise RunError(
            f"{found} {before + broken[0] + 1}: the weights are damaged, or training diverged. Use "
            "weights of an earlier epoch, or train again"
        )


def device_for(asked: str) -> torch.device:
    """Return a torch device by name; `auto` takes a GPU if there is one. Raises ConfigError if it cannot be used."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device={asked} cannot be used here: {str(error).splitlines()[0]}") from error
