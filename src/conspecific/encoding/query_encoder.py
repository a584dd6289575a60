"""The network of an index as an ONNX file: queries are embedded without torch, which takes seconds to import."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conspecific.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

BATCH = 16  # images embedded at once
SAMPLE = 4  # images that the exported network is compared with torch on


def can_open() -> bool:
    """Whether ONNX Runtime is installed."""
    return find_spec("onnxruntime") is not None


def write_query_encoder(network: "nn.Module", size: int, file: Path) -> None:
    """Export a network from images to embeddings, in evaluation mode and on the CPU, to an ONNX file.

    size: side of the images in pixels. Raises RuntimeError where the exported network disagrees with torch on a sample
    of noise; exporters raise errors of any kind.
    """
    import torch

    from conspecific.encoding.encoder import Encoder, disagreement, torch_encoder
    from conspecific.encoding.onnx_backend import export

    sample = torch.randint(0, 256, (SAMPLE, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()
    expected = torch_encoder(network, torch.device("cpu"))(sample)
    export(network, sample, file)
    opened = open_query_encoder(file)
    found = Encoder("onnxruntime", "float32", lambda images: torch.from_numpy(opened(images.numpy())))
    if reason := disagreement(found, expected, sample):
        raise RuntimeError(reason)


def open_query_encoder(file: Path) -> Callable[[NDArray[np.uint8]], FloatArray]:
    """Return the function from images [B, 3, H, W] uint8 to embeddings [B, D] float32 of an exported network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: NDArray[np.uint8]) -> FloatArray:
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return np.concatenate([session.run(None, {name: part})[0] for part in parts])

    return run
