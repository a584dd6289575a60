"""Weights files: state dicts as .safetensors or .pth, checkpoints of trainings, and weights of whole embedders."""

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, get_args

import torch
from torch import Tensor, nn

from conspecific.config.choices import NamedWeights
from conspecific.errors import ConfigError, name_some
from conspecific.models.tensor_file import read_tensors
from conspecific.reading import open_regular

NAMED = get_args(NamedWeights)
WEIGHTS = "weights.safetensors"  # in a run directory
CONTAINERS = "state_dict", "state", "extractor"  # of the weights in a checkpoint of Lightning, of Birder, of DISK
IN_EMBEDDER = "backbone.net."  # what stands before the names of a backbone's weights in those of an embedder
AVERAGE = "average."  # names of the running average in a checkpoint: it is what a run with recipe.ema evaluates


def weights_file(weights: str) -> Path | None:
    """Return the file that `model.weights` names, of a run directory its weights; None for bundled, timm and none.

    Raises ConfigError where there is no such file.
    """
    if weights in NAMED:
        return None
    place = Path(weights).expanduser()
    file = place / WEIGHTS if place.is_dir() else place
    if file.is_file():
        return file
    if place.is_dir():
        raise ConfigError(
            f"model.weights={weights} is a folder without {WEIGHTS}, which a finished run has. Give a file, such as "
            "checkpoints/best.ckpt of a run that was interrupted"
        )
    raise ConfigError(f"model.weights={weights} is neither a file, nor a run, nor one of: {', '.join(NAMED)}")


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Read a state dict, or the one in a checkpoint, as those of Lightning, Birder and DISK are.

    Raises ConfigError where it cannot be read, or holds something else.
    """
    return read_checkpoint(file)[0]


def read_checkpoint(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `read_state_dict` reads, and the plain values beside it. No other objects are made of the file."""
    try:
        content = _content(file)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise ConfigError(f"{file} cannot be read as weights: {_reason(error)}") from error
    others = {}
    for key in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            others = {str(name): value for name, value in content.items() if name != key}
            content = content[key]
            break
    if not isinstance(content, dict):
        raise ConfigError(f"{file} does not hold a state dict but a {type(content).__name__}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = name_some([str(name) for name in content]) or "nothing"
        raise ConfigError(f"{file} does not hold a state dict, which is tensors by name; it holds {keys}")
    return tensors, others


def prefix_of(names: Iterable[str], given: Iterable[str]) -> str:
    """Return what stands before the names of a module in a file that holds it among others, such as `module.`.

    It is the prefix that fits most names. A running average is preferred to the weights it is the average of.

    >>> prefix_of(["conv.weight", "conv.bias"], ["model.conv.weight", "model.conv.bias", "loss.weight"])
    'model.'
    """
    own = list(names)
    ends = {name.rpartition(".")[2] for name in own}
    found = Counter(
        other.removesuffix(name)
        for other in given
        if other.rpartition(".")[2] in ends
        for name in own
        if other == name or other.endswith(f".{name}")
    )
    return max(found, key=lambda prefix: (found[prefix], prefix.startswith(AVERAGE), -len(prefix)), default="")


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], file: Path, what: str, *, whole: bool) -> None:
    """Load those weights that bear the names of a module, behind one prefix.

    file, what: for the error. whole: whether the file may hold nothing else behind that prefix. Raises ConfigError that
    names what is missing, of another shape, or left over.
    """
    own = module.state_dict()
    prefix = prefix_of(own, weights)
    given = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    faults = {
        "missing": sorted(own.keys() - given.keys()),
        "of another shape": sorted(name for name in own.keys() & given.keys() if own[name].shape != given[name].shape),
        "left over": sorted(given.keys() - own.keys()) if whole else [],
    }
    if any(faults.values()):
        told = ", ".join(
            f"{len(names)} {fault} ({name_some(names, shown=3)})" for fault, names in faults.items() if names
        )
        raise ConfigError(f"{file} does not hold the weights of this {what}. Tensors: {told}")
    module.load_state_dict({name: given[name] for name in own})


def _content(file: Path) -> Any:
    if file.suffix == ".safetensors":
        return read_tensors(file)
    with open_regular(file) as stream:
        kind = stream.read(2)
    if kind not in (b"PK", b"\x80\x02"):  # a zip archive, or a pickle as torch.save wrote before 1.6
        raise ValueError("it is neither a .safetensors file nor one that torch.save wrote")
    if kind == b"PK":
        _require_whole(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _require_whole(file: Path) -> None:
    """Raise ValueError for an archive that torch would read past damage, or unpack to many times its size."""
    with zipfile.ZipFile(file) as parts:
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
            raise ValueError("its parts are compressed, as torch.save never writes them")
        if changed := parts.testzip():
            raise ValueError(f"it is damaged: the checksum of {changed} in it differs")


def _reason(error: Exception) -> str:
    if isinstance(error, UnpicklingError):
        return (
            "it is damaged, or holds Python objects besides tensors, which could run code. Save the weights alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    return str(error).partition("\n")[0] or type(error).__name__
