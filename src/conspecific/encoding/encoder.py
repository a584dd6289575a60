"""An encoder: one network as one backend runs it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from conspecific.types import FloatArray

LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.999}  # the lowest of a sample in float32, the mean in bfloat16


@dataclass(frozen=True)
class Encoder:
    """A network from images to activations or feature maps, without gradients.

    run: images [B, 3, H, W] uint8 -> [B, ...] float32. The torch backend takes and returns tensors of its device, the
        others of the CPU.
    precision: float32 or bfloat16, of the computation; the result is float32 either way.
    """

    backend: str
    precision: str
    run: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        return self.run(images)

    def __str__(self) -> str:
        return f"{self.backend}, {self.precision}"


def torch_encoder(network: Callable[[Tensor], Tensor], device: torch.device, precision: str = "float32") -> Encoder:
    """Return the network as torch runs it, on a device it is already on, in its present mode."""

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return network(images.to(device, non_blocking=True)).float()

    return Encoder("torch", precision, run)


def on_tensors(run: Callable[[NDArray[Any]], FloatArray]) -> Callable[[Tensor], Tensor]:
    """Return a function of arrays as one of tensors on the CPU, which share their memory."""
    return lambda images: torch.from_numpy(run(images.numpy()))


def disagreement(encoder: Encoder, expected: Tensor, sample: Tensor) -> str | None:
    """Return how far the output for a sample of images is from torch's in float32; None if it is near enough.

    expected: [B, ...], of torch in float32. The rows, flattened, are compared by cosine: the lowest must be 0.9999 or
    more in float32, the mean 0.999 or more in bfloat16. A shape that differs or a value that is NaN or Inf is a
    disagreement too.
    """
    found = encoder(sample).cpu()
    if found.shape != expected.shape:
        return f"its output has the shape {list(found.shape)} where torch gives {list(expected.shape)}"
    cosines = F.cosine_similarity(found.flatten(1).double(), expected.cpu().flatten(1).double())
    measured = float(cosines.mean() if encoder.precision == "bfloat16" else cosines.min())
    least = LEAST_COSINE[encoder.precision]
    if measured >= least:  # False for NaN
        return None
    kind = "mean" if encoder.precision == "bfloat16" else "lowest"
    return f"the {kind} cosine to torch in float32 is {measured:.5f} on a sample, and {least} is needed"


def images_per_second(encoder: Encoder, sample: Tensor, repeats: int = 2) -> float:
    """Return the speed on a sample, of the fastest repeat after one to warm up."""
    encoder(sample)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        encoder(sample)
        seconds.append(time.perf_counter() - began)
    return len(sample) / min(seconds)
