"""Exports in int8: what is quantized and how, and what that costs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from conspecific.data.dataset import EvaluationImages
from conspecific.encoding.encoder import Encoder, images_per_second
from conspecific.errors import ConfigError
from conspecific.evaluation import Difference, Evaluator, compare
from conspecific.evaluation.tables import format_interval
from conspecific.exporting.network import ExportedNetwork, Run
from conspecific.exporting.parity import METRICS, NOISE, Parity, spread
from conspecific.models.encode import decoded
from conspecific.progress import progress_bar
from conspecific.types import IntArray

if TYPE_CHECKING:
    import onnx

CALIBRATION_IMAGES, BATCH = 256, 16
QUANTIZED = ("Conv", "Gemm", "MatMul", "Clip", "Relu", "MaxPool")
SCOPES, BACKBONE = "pkg.torch.onnx.name_scopes", "'embedder.backbone"


@dataclass(frozen=True)
class Int8:
    """What an export in int8 was calibrated on, and what it costs beside the same export in float32.

    calibration_images, training_images: how many of how many were used. float32_images_per_second, float32_bytes: of
    the same network in float32, run by the same engine. cost: metric -> paired difference of int8 and torch in float32;
    empty where no scores could be compared.
    """

    calibration_images: int
    training_images: int
    float32_images_per_second: float
    float32_bytes: int
    cost: Mapping[str, Difference]

    @classmethod
    def measure(cls, float32: Run, size: int, calibration: IntArray, evaluator: Evaluator, parity: Parity) -> Self:
        """Measure what int8 costs. float32: the same network in float32; size: of its files in bytes."""
        sample = EvaluationImages(evaluator.manifest, calibration, evaluator.image_size).sample(NOISE)
        speed = images_per_second(Encoder("", "", float32), sample)
        cost = {}
        if parity.results is not None and parity.results[0].facts["species"] > 1:
            exact, int8 = parity.results
            cost = {each.metric: each for each in compare(int8, exact) if each.metric in METRICS}
        return cls(len(calibration), len(evaluator.splits.train), speed, size, cost)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def __str__(self) -> str:
        told = [
            f"{name} {each.interval.mean:+.4f} ({format_interval(each.interval)})" for name, each in self.cost.items()
        ]
        told.append(f"float32 {self.float32_images_per_second:.0f} images/s and {self.float32_bytes / 1e6:.1f} MB")
        told.append(f"calibrated on {self.calibration_images:,} of {self.training_images:,} training images")
        return "; ".join(told)


def calibration_ids(evaluator: Evaluator) -> IntArray:
    """Return the sample ids of training images to calibrate on, evenly spaced over the species.

    Raises ConfigError where there is no training image.
    """
    ids = evaluator.splits.train
    if not len(ids):
        raise ConfigError("int8=true is calibrated on training images, and these data have none: leave data out")
    return spread(ids, evaluator.manifest.labels, CALIBRATION_IMAGES)


def calibration_batches(network: ExportedNetwork, evaluator: Evaluator, ids: IntArray) -> Iterator[Tensor]:
    """Yield batches of images as the network takes them."""
    images = EvaluationImages(evaluator.manifest, ids, network.image_size)
    with progress_bar(evaluator.console) as bar:
        task = bar.add_task("Calibrating", total=len(images))
        for batch in decoded(range(len(images)), lambda place: images[place]["image"], BATCH, evaluator.workers):
            yield network.prepared(batch)
            bar.advance(task, len(batch))


def quantize(source: Path, target: Path, batches: Iterable[Tensor]) -> None:
    """Write an ONNX network of `onnx_backend.export` with weights and activations of its backbone in int8.

    Weights have a scale for each output channel. Activations have the range that they take on `batches`, of prepared
    images. Pooling and normalization stay in float32, and so does the arithmetic of the head, whose weights are stored
    in int8: powers and norms of 8 bits would move the embedding most.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model, given = onnx.load(source), iter(batches)
    behind = [node.name for node in model.graph.node if not _is_of_backbone(node)]
    assert len(behind) < len(model.graph.node), "the exporter of torch no longer names the module of a node"

    def next_batch() -> dict[str, Any] | None:
        batch = next(given, None)
        return None if batch is None else {"images": batch.numpy()}

    add_pre_process_metadata(model)  # the exporter has folded constants and batch norms already
    quantize_static(
        model,
        target,
        SimpleNamespace(get_next=next_batch),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTIZED),
        nodes_to_exclude=behind,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"MatMulConstBOnly": True},  # attention multiplies activations, whose 8 bits cost most
    )
    model = onnx.load(target)
    store_in_int8(model, behind)
    onnx.save(model, target)


def _is_of_backbone(node: "onnx.NodeProto") -> bool:
    return any(each.key == SCOPES and BACKBONE in each.value for each in node.metadata_props)


def store_in_int8(model: "onnx.ModelProto", names: Iterable[str]) -> None:
    """Replace the matrices that the nodes of these names multiply with by int8 and a scale for each of their outputs.

    They are converted back to float32 when the network is run.
    """
    from onnx import helper, numpy_helper

    graph, wanted = model.graph, set(names)
    stored = {each.name: each for each in graph.initializer}
    nodes = [node for node in graph.node if node.name in wanted and node.op_type in ("Gemm", "MatMul")]
    for node in nodes:
        name = node.input[1]
        if (weights := stored.pop(name, None)) is None:
            continue
        matrix = numpy_helper.to_array(weights)
        axis = 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1
        scale = np.maximum(np.abs(matrix).max(axis=1 - axis), np.finfo(np.float32).tiny) / 127
        rounded = np.rint(matrix / np.expand_dims(scale, 1 - axis)).astype(np.int8)
        graph.initializer.remove(weights)
        graph.initializer.extend(
            [numpy_helper.from_array(rounded, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]
        )
        made = helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=axis)
        graph.node.insert(0, made)
