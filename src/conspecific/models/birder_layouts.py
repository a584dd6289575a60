"""State dicts of Birder's networks, with the names and shapes that timm gives the same tensors."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from conspecific.errors import ConfigError

Tensors = Mapping[str, Tensor]
IN_STAGE = re.compile(r"body\.stage(\d+)\.(?:block\.)?(\d+)\.(.+)")  # stage, block, and what is in it
READ = "vision transformers, ConvNeXt v1 and v2, EfficientNet v1 and v2, Hiera, HieraDet, RegNet X and Y, ResNet v1"

TRANSFORMER = {
    "conv_proj.": "patch_embed.proj.",
    "class_token": "cls_token",
    "reg_tokens": "reg_token",
    "pos_embedding": "pos_embed",
    "encoder.block.": "blocks.",
    ".mlp.0.": ".mlp.fc1.",
    ".mlp.3.": ".mlp.fc2.",
    ".layer_scale_1.": ".ls1.",
    ".layer_scale_2.": ".ls2.",
}
CONVNEXT = {
    "block.0.": "conv_dw.",
    "block.2.": "norm.",
    "block.3.": "mlp.fc1.",
    "block.5.gamma": "mlp.grn.weight",
    "block.5.beta": "mlp.grn.bias",
    "block.5.": "mlp.fc2.",
    "block.6.": "mlp.fc2.",
    "layer_scale": "gamma",
}
REGNET = {
    "f.block.0.": "conv1.",
    "f.block.1.": "conv2.",
    "f.block.2.": "se.",
    "f.block.3.": "conv3.",
    "proj.": "downsample.",
}
BASIC = {"block1.0.0.": "conv1.", "block1.0.1.": "bn1.", "block1.1.": "conv2.", "block1.2.": "bn2."}
BOTTLENECK = {
    "block1.0.0.": "conv1.",
    "block1.0.1.": "bn1.",
    "block1.1.0.": "conv2.",
    "block1.1.1.": "bn2.",
    "block1.2.": "conv3.",
    "block1.3.": "bn3.",
}
SQUEEZE = {"fc1.": "se.conv_reduce.", "fc2.": "se.conv_expand."}
EFFICIENTNET = {  # by the number of parts of a block: each convolution with its norm, or the squeeze-and-excitation
    1: (("conv.", "bn1."),),
    2: (("conv_exp.", "bn1."), ("conv_pwl.", "bn2.")),
    3: (("conv_dw.", "bn1."), SQUEEZE, ("conv_pw.", "bn2.")),
    4: (("conv_pw.", "bn1."), ("conv_dw.", "bn2."), SQUEEZE, ("conv_pwl.", "bn3.")),
}
"""What stands in the names of Birder's networks, and what timm has in its place."""


class Family(NamedTuple):
    """Networks of one layout.

    known_by: names of tensors that all of them have, and no other family together. whole: whether every tensor but
    those of the classifier belongs to the network that timm has, so that others tell of a variant that it has not.
    """

    known_by: frozenset[str]
    renamed: Callable[[Tensors], dict[str, Tensor]]
    whole: bool = True


def birder_family(names: Collection[str]) -> Family | None:
    """Return the family of Birder that these names of tensors tell of; None for none that is read."""
    given = set(names)
    return next((family for family in FAMILIES if family.known_by <= given), None)


def is_birder(names: Iterable[str]) -> bool:
    """Whether names of tensors are of Birder, of a family that is read or of another."""
    listed = set(names)
    return birder_family(listed) is not None or any(IN_STAGE.match(name) for name in listed)


def from_birder(tensors: Tensors, family: Family) -> dict[str, Tensor]:
    """Return the tensors of a network of Birder under the names of timm, without its classifier.

    Raises ConfigError where its blocks have other parts than those of the family.
    """
    try:
        return family.renamed({name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")})
    except (IndexError, KeyError, ValueError) as error:
        raise ConfigError(f"model.weights is a network of Birder whose blocks have unknown parts: {error!r}") from error


def replaced(name: str, table: Mapping[str, str]) -> str:
    """Return a name with everything in it that a table has replaced, in the order of the table."""
    for old, new in table.items():
        name = name.replace(old, new)
    return name


def _transformer(tensors: Tensors) -> dict[str, Tensor]:
    """Birder adds positions to register and class tokens, in this order; networks of timm with registers do not, so
    that theirs become part of the tokens."""
    found = {replaced(name, TRANSFORMER): tensor for name, tensor in tensors.items()}
    if "reg_token" in found:
        special = [name for name in ("reg_token", "cls_token") if name in found]
        counts = [found[name].shape[1] for name in special]
        positions = found["pos_embed"]
        if math.isqrt(left := positions.shape[1] - sum(counts)) ** 2 == left:
            *own, found["pos_embed"] = torch.split(positions, [*counts, left], dim=1)
            for name, position in zip(special, own, strict=True):
                found[name] = found[name] + position
    return found


def _convnext(tensors: Tensors) -> dict[str, Tensor]:
    """The first of the blocks of a later stage is its downsampling."""
    found = {}
    for name, tensor in tensors.items():
        if match := IN_STAGE.match(name):
            stage, block, rest = int(match[1]) - 1, int(match[2]), match[3]
            if rest[0].isdigit():
                found[f"stages.{stage}.downsample.{rest}"] = tensor
                continue
            inside = replaced(rest, CONVNEXT)
            flat = tensor.flatten() if inside == "gamma" or ".grn." in inside else tensor
            found[f"stages.{stage}.blocks.{block - (stage > 0)}.{inside}"] = flat
        else:
            found[replaced(name, {"features.1.": "head.norm."})] = tensor
    return found


def _regnet(tensors: Tensors) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        if match := IN_STAGE.match(name):
            name = f"s{match[1]}.b{int(match[2]) + 1}.{replaced(match[3], REGNET)}"
        if ".se." not in name:
            name = re.sub(r"\.0\.(\w+)$", r".conv.\1", re.sub(r"\.1\.(\w+)$", r".bn.\1", name))
        found[name] = tensor
    return found


def _resnet(tensors: Tensors) -> dict[str, Tensor]:
    stem = {"stem.0.0.": "conv1.", "stem.0.1.": "bn1."}
    block = {"block2.": "downsample.", **(BOTTLENECK if "body.stage1.0.block1.3.weight" in tensors else BASIC)}
    found = {}
    for name, tensor in tensors.items():
        match = IN_STAGE.match(name)
        inside = match and f"layer{match[1]}.{match[2]}.{replaced(match[3], block)}"
        found[inside or replaced(name, stem)] = tensor
    return found


def _efficientnet(tensors: Tensors) -> dict[str, Tensor]:
    """timm begins a stage where the channels change, Birder where the resolution does."""
    outside = {"stem.0.": "conv_stem.", "stem.1.": "bn1.", "features.0.0.": "conv_head.", "features.0.1.": "bn2."}
    found = {replaced(name, outside): tensor for name, tensor in tensors.items() if not IN_STAGE.match(name)}
    blocks: dict[tuple[int, int], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := IN_STAGE.match(name):
            blocks.setdefault((int(match[1]), int(match[2])), {})[match[3]] = tensor
    last, stage, place = (-1, -1), -1, 0
    for (number, _), block in sorted(blocks.items()):
        parts = 1 + max(int(name.split(".")[1]) for name in block)
        channels = block[f"block.{parts - 1}.0.weight"].shape[0]
        stage, place = (stage, place + 1) if (number, channels) == last else (stage + 1, 0)
        last = number, channels
        for name, tensor in block.items():
            found[f"blocks.{stage}.{place}.{_in_block(name, parts)}"] = tensor
    return found


def _in_block(name: str, parts: int) -> str:
    """Return the name that timm gives a tensor of a block of so many parts, `block.PART.INSIDE.KIND`."""
    _, part, inside, kind = name.split(".")
    names = EFFICIENTNET[parts][int(part)]
    return f"{names[f'{inside}.'] if isinstance(names, dict) else names[int(inside)]}{kind}"


def _hiera(tensors: Tensors) -> dict[str, Tensor]:
    return _in_one_row(tensors, {"stem.": "patch_embed.", "features.1.": "head.norm."})


def _hieradet(tensors: Tensors) -> dict[str, Tensor]:
    outside = {"stem.": "patch_embed.", "features.0.": "head.norm.", "pos_embed_win": "pos_embed_window"}
    return _in_one_row(tensors, outside)


def _in_one_row(tensors: Tensors, outside: Mapping[str, str]) -> dict[str, Tensor]:
    """Number the blocks of all stages through, as timm does."""
    matches = [match for name in tensors if (match := IN_STAGE.match(name))]
    order = sorted({(int(match[1]), int(match[2])) for match in matches})
    found = {}
    for name, tensor in tensors.items():
        if match := IN_STAGE.match(name):
            inside = replaced(match[3], {"mlp.0.": "mlp.fc1.", "mlp.3.": "mlp.fc2."})
            found[f"blocks.{order.index((int(match[1]), int(match[2])))}.{inside}"] = tensor
        else:
            found[replaced(name, outside)] = tensor
    return found


FAMILIES = (
    Family(frozenset({"conv_proj.weight", "encoder.block.0.norm1.weight"}), _transformer, whole=False),
    Family(frozenset({"stem.0.weight", "body.stage1.0.block.0.weight", "features.1.weight"}), _convnext),
    Family(frozenset({"stem.0.weight", "body.stage0.0.block.0.0.weight", "features.0.0.weight"}), _efficientnet),
    Family(frozenset({"stem.0.weight", "body.stage1.block.0.f.block.0.0.weight"}), _regnet),
    Family(frozenset({"stem.0.0.weight", "body.stage1.0.block1.0.0.weight"}), _resnet),
    Family(frozenset({"stem.proj.weight", "body.stage1.0.attn.qkv.weight", "features.1.weight"}), _hiera),
    Family(frozenset({"stem.proj.weight", "body.stage1.0.attn.qkv.weight", "features.0.weight"}), _hieradet),
)
"""The families of networks whose tensors are those of a network of timm, by other names."""
