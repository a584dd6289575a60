"""The formats that a network is exported to: how each is written, and how it is run again."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from conspecific.encoding import onnx_backend, openvino_backend
from conspecific.errors import ConfigError
from conspecific.exporting import timm_folder
from conspecific.exporting.network import ExportedNetwork, Run

ONNX, OPENVINO, TORCH = "model.onnx", "model.xml", "model.pt2"
FILES = (ONNX, OPENVINO, "model.bin", TORCH, timm_folder.CONFIG, "model.safetensors", timm_folder.HEAD)


@dataclass(frozen=True)
class Format:
    """A format of exported networks.

    write: the network into a folder. open: the same folder as a function from prepared images to embeddings.
    is_installed: whether the packages of the extra, which has the name of the format, are there. takes_pixels: whether
    it can normalise uint8 images itself.
    """

    write: Callable[[ExportedNetwork, Path], None]
    open: Callable[[Path, ExportedNetwork], Run]
    is_installed: Callable[[], bool] = lambda: True
    takes_pixels: bool = True


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


FORMATS: dict[str, Format] = {
    "onnx": Format(
        _write_onnx, lambda folder, _: onnx_backend.open_file(folder / ONNX), lambda: bool(onnx_backend.precisions())
    ),
    "openvino": Format(
        _write_openvino,
        lambda folder, _: openvino_backend.open_file(folder / OPENVINO),
        lambda: bool(openvino_backend.precisions()),
    ),
    "torch": Format(_write_torch, _open_torch),
    "timm": Format(timm_folder.write, timm_folder.open_folder, takes_pixels=False),
}


def usable(name: str, uint8: bool) -> Format:
    """Return a format by name. Raises ConfigError where its packages are missing or it cannot take pixels."""
    found = FORMATS[name]
    if not found.is_installed():
        raise ConfigError(f"format={name} needs packages that are not installed: pip install 'conspecific[{name}]'")
    if uint8 and not found.takes_pixels:
        raise ConfigError(f"uint8=true is not for format={name}, whose networks take normalised images: leave it out")
    return found
