"""OpenVINO: Intel's inference engine, the fastest on CPUs with AMX or AVX-512. Imported without torch."""

import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conspecific.cached import cached
from conspecific.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORK = "network.xml"

NAMES = {"float32": "f32", "bfloat16": "bf16"}
SLICE = 8  # images given to one stream at once


def precisions() -> tuple[str, ...]:
    """Return the precisions that OpenVINO computes in natively here; none where the package is missing."""
    if find_spec("openvino") is None:
        return ()
    native = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("float32", "bfloat16") if "BF16" in native else ("float32",)


def build(
    network: "nn.Module", sample: "Tensor", precision: str, converted: Path, say: Callable[[str], None]
) -> Callable[[NDArray[Any]], FloatArray]:
    """Return a function from images like `sample`, uint8 [B, 3, H, W] of any B, to the output of the network.

    converted: a folder that keeps the converted network, which takes seconds to make; see `cached`, for `say` too.
    """
    folder = cached(converted, lambda folder: export(network, sample, folder / NETWORK), say)
    return open_file(folder / NETWORK, precision)


def open_file(file: Path, precision: str = "float32", *, single: bool = False) -> Callable[[NDArray[Any]], FloatArray]:
    """Return a function from a batch of inputs to the output of the network in a file that `export` wrote.

    The batch is divided among as many streams as there are cores, each of one thread, so that no core waits for
    another. single: all cores work on one image at a time instead; an image is there sooner, and so is the function.
    """
    openvino = _openvino()
    model = openvino.Core().read_model(file)
    hint = "LATENCY" if single else "THROUGHPUT"
    options = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": NAMES[precision]}
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", options))

    def run(images: NDArray[Any]) -> FloatArray:
        found = {}

        def keep(request: Any, start: int) -> None:
            found[start] = np.array(request.get_output_tensor().data)  # a copy: the request is used again

        queue.set_callback(keep)
        step = max(1, min(SLICE, -(-len(images) // len(queue))))
        for start in range(0, len(images), step):
            queue.start_async(images[start : start + step], start)
        queue.wait_all()
        return np.concatenate([found[start] for start in sorted(found)])

    return run


def export(network: "nn.Module", sample: "Tensor", file: Path) -> None:
    """Write a network as an .xml file, its weights as a .bin file beside it, for the input `images`, like `sample` but
    of any batch size, and the output `embeddings`.

    network: on the CPU and in evaluation mode.
    """
    import torch

    openvino = _openvino()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that become constants: they are
        model = openvino.convert_model(network, example_input=sample[:2])
    model.reshape([-1, *sample.shape[1:]])
    model.input().set_names({"images"})
    model.output().set_names({"embeddings"})
    openvino.save_model(model, file, compress_to_fp16=False)


def convert(source: Path, file: Path) -> None:
    """Write an ONNX network as `export` would, with the names of its input and output."""
    openvino = _openvino()
    openvino.save_model(openvino.convert_model(source), file, compress_to_fp16=False)


def _openvino() -> Any:
    """Return the module, imported without its telemetry, which reports every import to Google Analytics unasked."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes its import fail
    absl = sys.modules.get("absl")  # imported by TensorBoard, for example
    sys.modules["absl"] = None  # type: ignore[assignment]  # it would replace the handlers of Python's logging
    try:
        import openvino
    finally:
        del sys.modules["absl"]
        if absl is not None:
            sys.modules["absl"] = absl
    return openvino
