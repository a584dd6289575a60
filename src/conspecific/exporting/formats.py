"""The formats that a network is exported to: how each is written, and how it is run again."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from conspecific.encoding import onnx_backend, openvino_backend
from conspecific.encoding.encoder import on_tensors
from conspecific.errors import ConfigError
from conspecific.exporting import int8, timm_folder
from conspecific.exporting.network import ExportedNetwork, Run

ONNX, OPENVINO, TORCH = "model.onnx", "model.xml", "model.pt2"
FILES = (ONNX, OPENVINO, "model.bin", TORCH, timm_folder.CONFIG, "model.safetensors", timm_folder.HEAD)


@dataclass(frozen=True)
class Format:
    """A format of exported networks.

    write: the network into a folder. open: the same folder as a function from prepared images to embeddings.
    is_installed: whether the packages of the extra, which has the name of the format, are there. takes_pixels: whether
    it can normalise uint8 images itself. quantize: from the folder that `write` filled into another, calibrated on
    batches of prepared images; None where the format has no int8.
    """

    write: Callable[[ExportedNetwork, Path], None]
    open: Callable[[Path, ExportedNetwork], Run]
    is_installed: Callable[[], bool] = lambda: True
    takes_pixels: bool = True
    quantize: Callable[[ExportedNetwork, Path, Path, Iterable[Tensor]], None] | None = None


def _write_torch(network: ExportedNetwork, folder: Path) -> None:
    sample = network.prepared(network.noise(2))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (sample,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        torch.export.save(program, folder / TORCH)


def _open_torch(folder: Path, network: ExportedNetwork) -> Run:
    module = torch.export.load(folder / TORCH).module()

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = module(images)
            return found

    return run


def _write_onnx(network: ExportedNetwork, folder: Path) -> None:
    onnx_backend.export(network, network.prepared(network.noise(2)), folder / ONNX)


def _write_openvino(network: ExportedNetwork, folder: Path) -> None:
    openvino_backend.export(network, network.prepared(network.noise(2)), folder / OPENVINO)


def _quantize_onnx(_: ExportedNetwork, float32: Path, folder: Path, batches: Iterable[Tensor]) -> None:
    int8.quantize(float32 / ONNX, folder / ONNX, batches)


def _quantize_openvino(network: ExportedNetwork, _: Path, folder: Path, batches: Iterable[Tensor]) -> None:
    """Convert the int8 network of ONNX, which is nearer to torch than one of NNCF: docs/export.md."""
    with TemporaryDirectory() as scratch:
        _write_onnx(network, Path(scratch))
        int8.quantize(Path(scratch) / ONNX, Path(scratch) / "int8.onnx", batches)
        openvino_backend.convert(Path(scratch) / "int8.onnx", folder / OPENVINO)


FORMATS: dict[str, Format] = {
    "onnx": Format(
        _write_onnx,
        lambda folder, _: on_tensors(onnx_backend.open_file(folder / ONNX, torch.get_num_threads())),
        lambda: bool(onnx_backend.precisions()),
        quantize=_quantize_onnx,
    ),
    "openvino": Format(
        _write_openvino,
        lambda folder, _: on_tensors(openvino_backend.open_file(folder / OPENVINO)),
        lambda: bool(openvino_backend.precisions()),
        quantize=_quantize_openvino,
    ),
    "torch": Format(_write_torch, _open_torch),
    "timm": Format(timm_folder.write, timm_folder.open_folder, takes_pixels=False),
}


def usable(name: str, uint8: bool, int8: bool) -> Format:
    """Return a format by name. Raises ConfigError where packages are missing, or it has no uint8 or int8."""
    found = FORMATS[name]
    if not found.is_installed():
        raise ConfigError(f"format={name} needs packages that are not installed: pip install 'conspecific[{name}]'")
    if uint8 and not found.takes_pixels:
        raise ConfigError(f"uint8=true is not for format={name}, whose networks take normalised images: leave it out")
    if int8 and found.quantize is None:
        able = " or ".join(each for each, form in FORMATS.items() if form.quantize)
        raise ConfigError(f"int8=true is for format={able}; found format={name}")
    if int8 and not FORMATS["onnx"].is_installed():
        raise ConfigError("int8=true needs packages that are not installed: pip install 'conspecific[onnx]'")
    return found
