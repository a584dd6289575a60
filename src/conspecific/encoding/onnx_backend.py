"""ONNX Runtime: Microsoft's inference engine, for any CPU. Imported without torch."""

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from conspecific.cached import cached
from conspecific.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORK = "network.onnx"


def precisions() -> tuple[str, ...]:
    """Return float32, which is what ONNX Runtime computes in on CPUs; none where a package it needs is missing."""
    return ("float32",) if all(map(find_spec, ("onnxruntime", "onnx", "onnxscript"))) else ()


def build(
    network: "nn.Module", sample: "Tensor", precision: str, converted: Path, say: Callable[[str], None]
) -> Callable[[NDArray[Any]], FloatArray]:
    """Return a function from images like `sample`, uint8 [B, 3, H, W] of any B, to the output of the network.

    converted: a folder that keeps the converted network; see `cached`, for `say` too.
    """
    import torch

    folder = cached(converted, lambda folder: export(network, sample, folder / NETWORK), say)
    return open_file(folder / NETWORK, torch.get_num_threads())


def open_file(file: Path, threads: int) -> Callable[[NDArray[Any]], FloatArray]:
    """Return a function from a batch of inputs to the output of the network in an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()

    def run(images: NDArray[Any]) -> FloatArray:
        found: FloatArray
        [found] = session.run(None, {given.name: images})
        return found

    return run


def export(network: "nn.Module", sample: "Tensor", file: Path) -> None:
    """Write a network as an ONNX file with the input `images`, like `sample` but of any batch size, and the output
    `embeddings`.

    network: on the CPU and in evaluation mode.
    """
    import torch

    batch = torch.export.Dim("batch", min=1)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (sample[:2],),
                file,
                input_names=["images"],
                output_names=["embeddings"],
                dynamo=True,
                dynamic_shapes=({0: batch},),
                external_data=False,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
