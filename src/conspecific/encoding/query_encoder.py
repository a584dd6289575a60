"""The network of an index as a file of ONNX Runtime or OpenVINO: queries are embedded without torch, which takes
seconds to import.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conspecific.encoding import onnx_backend, openvino_backend
from conspecific.images import cores
from conspecific.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

ONNX, OPENVINO, OPENVINO_WEIGHTS = "encoder.onnx", "encoder.xml", "encoder.bin"
PACKAGES = {OPENVINO: "openvino", ONNX: "onnxruntime"}  # by which each is opened
BATCH = 16  # images embedded at once
SAMPLE = 4  # images that the exported network is compared with torch on


def can_write() -> bool:
    """Whether a package that networks are written for is installed."""
    return bool(onnx_backend.precisions() or openvino_backend.precisions())


def write_query_encoder(network: "nn.Module", size: int, folder: Path) -> list[Path]:
    """Write a network from images to embeddings, in evaluation mode and on the CPU; return its files.

    size: side of the images in pixels. Raises RuntimeError where what was written disagrees with torch on a sample of
    noise; exporters raise errors of any kind.
    """
    import torch

    from conspecific.encoding.encoder import Encoder, disagreement, on_tensors, torch_encoder

    sample = torch.randint(0, 256, (SAMPLE, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()
    expected = torch_encoder(network, torch.device("cpu"))(sample)
    if openvino_backend.precisions():
        openvino_backend.export(network, sample, folder / OPENVINO)
        backend, files = "openvino", [folder / OPENVINO, folder / OPENVINO_WEIGHTS]
    else:
        onnx_backend.export(network, sample, folder / ONNX)
        backend, files = "onnxruntime", [folder / ONNX]
    found = Encoder(backend, "float32", on_tensors(open_query_encoder(files)))
    if reason := disagreement(found, expected, sample):
        raise RuntimeError(reason)
    return files


def can_open(files: Sequence[Path]) -> bool:
    """Whether the package is installed that the files of a network were written for."""
    names = {file.name for file in files}
    return any(name in names and find_spec(package) is not None for name, package in PACKAGES.items())


def open_query_encoder(files: Sequence[Path]) -> Callable[[NDArray[np.uint8]], FloatArray]:
    """Return the function from images [B, 3, H, W] uint8 to embeddings [B, D] float32 of a network that was written."""
    assert can_open(files), "the package is installed"
    named = {file.name: file for file in files}
    if OPENVINO in named:
        run = openvino_backend.open_file(named[OPENVINO], single=True)
    else:
        run = onnx_backend.open_file(named[ONNX], cores())

    def in_batches(images: NDArray[np.uint8]) -> FloatArray:
        return np.concatenate([run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])

    return in_batches
