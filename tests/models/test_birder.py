"""Networks of Birder: the same network, built of torchvision's blocks as Birder's are, gives what timm's gives."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import convnext, efficientnet, regnet, resnet

from conspecific.errors import ConfigError
from conspecific.models import Backbone
from conspecific.models.origins import Origin

MOMENTS = {"mean": [0.0] * 3, "std": [1.0] * 3}


class GRN(nn.Module):
    """Global response normalisation (Woo et al. 2023, arXiv:2301.00808, equations 1 to 3), [B, H, W, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.randn(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        norms = x.norm(dim=(1, 2), keepdim=True)
        return self.gamma * x * norms / (norms.mean(dim=-1, keepdim=True) + 1e-6) + self.beta + x


class Made(NamedTuple):
    """A network of torchvision, its tensors under Birder's names, its feature map, and what timm calls it."""

    network: nn.Module
    state: dict[str, Tensor]
    features: Callable[[Tensor], Tensor]
    architecture: str
    arguments: Mapping[str, Any]


def renamed(network: nn.Module, *patterns: tuple[str, str]) -> dict[str, Tensor]:
    """The tensors of a network, the first pattern that fits a name replaced in it."""
    found = {}
    for name, tensor in network.state_dict().items():
        pattern, new = next((each for each in patterns if re.match(each[0], name)), ("", ""))
        found[re.sub(pattern, new, name, count=1)] = tensor
    return found


def convnext_of(version: int) -> Made:
    depths, sizes = [1, 2, 1, 1], [8, 16, 24, 32]
    last = [*sizes[1:], None]
    settings = [convnext.CNBlockConfig(*each) for each in zip(sizes, last, depths, strict=True)]
    network = convnext.ConvNeXt(settings, layer_scale=0.3)
    if version == 2:
        for block in network.modules():
            if isinstance(block, convnext.CNBlock):
                block.block = nn.Sequential(
                    *block.block[:5], GRN(4 * block.block[2].normalized_shape[0]), *block.block[5:]
                )
                del block.layer_scale
                block.layer_scale = 1.0
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        match = re.match(r"features\.(\d+)\.(\d+)\.(.+)", name)
        if match is None:
            state[name.replace("classifier.0.", "features.1.").replace("classifier.2.", "classifier.")] = tensor
        elif (place := int(match[1])) == 0:
            state[name.replace("features.0.", "stem.")] = tensor
        elif place % 2:
            number = int(match[2]) + (place > 1)  # a later stage begins with its downsampling
            state[f"body.stage{(place + 1) // 2}.{number}.{match[3]}"] = tensor
        else:
            state[f"body.stage{place // 2 + 1}.0.{match[2]}.{match[3]}"] = tensor
    architecture = {1: "convnext_tiny", 2: "convnextv2_tiny"}[version]
    return Made(network, state, network.features, architecture, {"depths": depths, "dims": sizes})


def regnet_of(squeeze: float) -> Made:
    cut = {"depth": 13, "w_0": 24, "w_a": 36.44, "w_m": 2.49, "group_width": 8}
    network = regnet.RegNet(regnet.BlockParams.from_init_params(**cut, se_ratio=squeeze))
    state = {}
    for name, tensor in network.state_dict().items():
        name = re.sub(r"trunk_output\.block(\d)\.block\d-(\d+)\.", r"body.stage\1.block.\2.", name)
        for place, part in enumerate(("a", "b", "se", "c")):
            name = name.replace(f".f.{part}.", f".f.block.{place}.")
        state[name.replace("fc.", "classifier.") if name.startswith("fc.") else name] = tensor
    architecture = "regnety_002" if squeeze else "regnetx_002"
    same = {"w0": 24, "wa": 36.44, "wm": 2.49, "group_size": 8, "depth": 13}
    return Made(network, state, lambda x: network.trunk_output(network.stem(x)), architecture, same)


def resnet_of(block: type[Any]) -> Made:
    network = resnet.ResNet(block, [1, 1, 1, 1])
    inside = {"conv1": "block1.0.0", "bn1": "block1.0.1", "downsample": "block2"}
    if block is resnet.Bottleneck:
        inside |= {"conv2": "block1.1.0", "bn2": "block1.1.1", "conv3": "block1.2", "bn3": "block1.3"}
    else:
        inside |= {"conv2": "block1.1", "bn2": "block1.2"}
    patterns = [(rf"layer(\d)\.(\d)\.{mine}\.", rf"body.stage\1.\2.{theirs}.") for mine, theirs in inside.items()]
    state = renamed(network, *patterns, ("conv1", "stem.0.0"), ("bn1", "stem.0.1"), ("fc", "classifier"))

    def features(x: Tensor) -> Tensor:
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        found: Tensor = network.layer4(network.layer3(network.layer2(network.layer1(x))))
        return found

    architecture = "resnet50" if block is resnet.Bottleneck else "resnet18"
    return Made(network, state, features, architecture, {"layers": [1, 1, 1, 1]})


def efficientnet_of(version: int) -> Made:
    fused, whole = efficientnet.FusedMBConvConfig, efficientnet.MBConvConfig
    if version == 1:
        network = efficientnet.efficientnet_b0()
        begins = [1, 1, 2, 3, 4, 4, 5, 5]  # which stage of Birder each of torchvision's is in, from 1
    else:
        blocks = [
            (fused, 1, 1, 24, 16),
            (fused, 4, 2, 16, 24),
            (fused, 4, 2, 24, 32),
            (whole, 4, 2, 32, 48),
            (whole, 4, 2, 48, 64),
        ]
        settings = [kind(ratio, 3, stride, inner, outer, 1) for kind, ratio, stride, inner, outer in blocks]
        network = efficientnet.EfficientNet(settings, dropout=0.0, last_channel=256)
        begins = [1, 1, 2, 3, 4, 5]
    state, seen = {}, {}
    for name, tensor in network.state_dict().items():
        match = re.match(r"features\.(\d+)\.(\d+)\.(.+)", name)
        if match is None:
            state[name.replace("classifier.1.", "classifier.")] = tensor
        elif int(match[1]) == 0:
            state[name.replace("features.0.", "stem.")] = tensor
        elif int(match[1]) == len(begins):
            state[f"features.0.{match[2]}.{match[3]}"] = tensor
        else:
            stage = begins[int(match[1])] - 1
            places = seen.setdefault(stage, [])
            if match.group(1, 2) not in places:
                places.append(match.group(1, 2))
            state[f"body.stage{stage}.{places.index(match.group(1, 2))}.{match[3]}"] = tensor
    architecture = {1: "efficientnet_b0", 2: "test_efficientnet"}[version]
    return Made(network, state, network.features, architecture, {})


def folder_of(folder: Path, architecture: str, arguments: Mapping[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    config = {"architecture": architecture, "num_classes": 0, "model_args": arguments, "pretrained_cfg": MOMENTS}
    (folder / "config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def saved(folder: Path, state: Mapping[str, Tensor]) -> str:
    content = {"state": dict(state), "birder_version": "1.0", "task": "image_classification", "rgb_stats": MOMENTS}
    torch.save(content, folder / "net.pt")
    return str(folder / "net.pt")


NETWORKS: dict[str, Callable[[], Made]] = {
    "convnext_v1": lambda: convnext_of(1),
    "convnext_v2": lambda: convnext_of(2),
    "regnet_x": lambda: regnet_of(0.0),
    "regnet_y": lambda: regnet_of(0.25),
    "resnet_v1_18": lambda: resnet_of(resnet.BasicBlock),
    "resnet_v1_50": lambda: resnet_of(resnet.Bottleneck),
    "efficientnet_v1": lambda: efficientnet_of(1),
    "efficientnet_v2": lambda: efficientnet_of(2),
}


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_a_network_of_birder_gives_what_the_one_it_was_renamed_from_gives(tmp_path: Path, network: str) -> None:
    torch.manual_seed(0)
    made = NETWORKS[network]()
    for module in made.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.get_buffer("running_mean"), -0.2, 0.2)
    backbone = Backbone(
        folder_of(tmp_path / "net", made.architecture, made.arguments), saved(tmp_path, made.state)
    ).eval()
    images = torch.rand(2, 3, 64, 64)
    made.network.eval()
    wanted = made.features(images)
    assert wanted.std() > 0
    torch.testing.assert_close(backbone(images), wanted, rtol=1e-3, atol=1e-4)
    assert backbone.origin == Origin("Birder", "the Birder project", "Apache-2.0")


@pytest.mark.parametrize("architecture", ["hiera_tiny_224", "sam2_hiera_tiny"])
def test_blocks_of_hiera_and_hieradet_are_numbered_through(tmp_path: Path, architecture: str) -> None:
    arguments: dict[str, Any] = {"stages": [1, 2, 1, 1], "embed_dim": 16, "num_heads": 1}
    if is_hiera := architecture.startswith("hiera"):
        arguments |= {"img_size": [64, 64], "abs_win_pos_embed": True, "global_pos_size": [4, 4]}
    else:
        arguments |= {"global_att_blocks": [3]}
    name = folder_of(tmp_path / "net", architecture, arguments)
    wanted = {key: torch.randn_like(value) for key, value in Backbone(name, "none").net.state_dict().items()}
    places = ["stage1.0", "stage2.0", "stage2.1", "stage3.0", "stage4.0"]
    state: dict[str, Tensor] = {"classifier.weight": torch.zeros(3, 128)}
    for key, value in wanted.items():
        theirs = re.sub(r"blocks\.(\d)", lambda match: f"body.{places[int(match[1])]}", key)
        for mine, other in (("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.3"), ("patch_embed", "stem"), ("_window", "_win")):
            theirs = theirs.replace(mine, other)
        state[theirs.replace("head.norm", "features.1" if is_hiera else "features.0")] = value
    loaded = Backbone(name, saved(tmp_path, state)).net.state_dict()
    assert loaded.keys() == wanted.keys() and all(torch.equal(loaded[key], wanted[key]) for key in wanted)


def test_other_networks_of_birder_are_refused_with_those_that_are_read(tmp_path: Path) -> None:
    made = resnet_of(resnet.BasicBlock)
    name, squeezed = folder_of(tmp_path / "net", made.architecture, made.arguments), "body.stage1.0.se.fc1.weight"
    told = r"Of Birder, these are read .*: vision transformers, ConvNeXt v1 and v2, .*, ResNet v1"
    with pytest.raises(ConfigError, match=rf"Tensors: 1 left over \(layer1\.0\.se\.fc1\.weight\)\. {told}"):
        Backbone(name, saved(tmp_path, {**made.state, squeezed: torch.zeros(8, 64, 1, 1)}))
    with pytest.raises(ConfigError, match=rf"missing .*\. {told}"):  # of a family that is not read
        Backbone(name, saved(tmp_path, {"stem.0.weight": torch.zeros(8), "body.stage1.0.attn.weight": torch.zeros(8)}))
    odd = {**efficientnet_of(2).state, "body.stage1.0.block.0.0.more.weight": torch.zeros(1)}
    with pytest.raises(ConfigError, match=rf"blocks have unknown parts: .*\. {told}"):
        Backbone(name, saved(tmp_path, odd))
