"""A folder that timm loads as a network of its own, with pooling and head beside it."""

import copy
import json
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from conspecific.exporting.network import ExportedNetwork, Run
from conspecific.files import write_json
from conspecific.models import Embedder
from conspecific.models.class_probabilities import FACTOR, MEANS, SCALE, WithClassProbabilities
from conspecific.models.pooling import Average, ClassToken, GeM, Maximum
from conspecific.models.tensor_file import read_tensors, save_tensors

CONFIG, HEAD = "config.json", "head.safetensors"
POOLED = {
    GeM: 'features.clamp(min={floor}).pow(head["pooling.p"]).mean((2, 3)).pow(1 / head["pooling.p"])',
    Average: "features.mean((2, 3))",
    Maximum: "features.amax((2, 3))",
    ClassToken: "features[:, :, 0, 0]",
    nn.Flatten: "features.flatten(1)",
}


def write(network: ExportedNetwork, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` of the backbone, and `head.safetensors`, with a checksum, where there
    are weights behind it."""
    embedder = network.embedder
    net = copy.deepcopy(embedder.backbone.net).to(memory_format=torch.contiguous_format)
    dynamic = {"dynamic_img_size": True} if getattr(net, "dynamic_img_size", False) else {}
    timm.models.save_for_hf(net, str(folder), model_args={"global_pool": "", **dynamic}, safe_serialization=True)
    _complete(folder / CONFIG, network)
    if tensors := _head(embedder):
        save_tensors(tensors, folder / HEAD)
    for file in folder.glob("*.safetensors"):  # which are written for the user alone
        file.chmod((folder / CONFIG).stat().st_mode)


def open_folder(folder: Path, network: ExportedNetwork) -> Run:
    """Return a function from normalised images to embeddings, by the backbone and the head that the folder holds.

    Raises ConfigError where the head is damaged.
    """
    embedder = copy.deepcopy(network.embedder)
    embedder.backbone.net = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    if (folder / HEAD).is_file():
        embedder.load_state_dict(read_tensors(folder / HEAD), strict=False)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return embedder.forward_head(embedder.backbone.feature_map(images))

    return run


def usage(embedder: Embedder) -> list[str]:
    """Return lines of Python from the network `net`, normalised `images` and the tensors `head` to `embeddings`."""
    lines, net = [], embedder.backbone.net
    channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
    layout = ".transpose(1, 2)[..., None]" if _gives_tokens(net) else ".permute(0, 3, 1, 2)" if channels_last else ""
    lines.append(f"features = net.forward_features(images){layout}  # [B, C, h, w]")
    prefix = embedder.backbone.prefix_tokens
    if prefix and not isinstance(embedder.pooling, ClassToken):
        lines.append(f"features = features[:, :, {prefix}:]  # without the tokens that belong to no position")
    pooled = POOLED[type(embedder.pooling)].format(floor=getattr(embedder.pooling, "floor", None))
    lines.append(f"embeddings = {pooled}")
    if embedder.search_head:
        lines += _head_lines(embedder.head)
    if embedder.truncate is not None:
        lines.append(f"embeddings = embeddings[:, :{embedder.truncate}]")
    if embedder.normalize:
        lines.append("embeddings = F.normalize(embeddings)")
    return lines


def _head_lines(head: nn.Module) -> list[str]:
    """Return lines for a linear head, one of linear layers with ReLU between them, or a batch norm."""
    layers = [f"{name}." if name else "" for name, module in head.named_modules() if isinstance(module, nn.Linear)]
    lines = []
    for number, name in enumerate(layers):
        weights = f'head["head.{name}weight"], head["head.{name}bias"]'
        lines += ["embeddings = F.relu(embeddings)"] * (number > 0)
        lines.append(f"embeddings = F.linear(embeddings, {weights})")
    for name, norm in head.named_modules():
        if isinstance(norm, nn.BatchNorm1d):
            inner = f"head.{name}." if name else "head."
            tensors = ", ".join(f'head["{inner}{key}"]' for key in ("running_mean", "running_var", "weight", "bias"))
            lines.append(f"embeddings = F.batch_norm(embeddings, {tensors}, eps={norm.eps})")
    if isinstance(head, WithClassProbabilities):
        lines.append("embeddings = F.normalize(embeddings)")
        lines.append(f'probabilities = ({SCALE} * embeddings @ head["{MEANS}"].T).softmax(1)  # of training species')
        lines.append(f'embeddings = torch.cat([embeddings, head["{FACTOR}"] * probabilities], 1)')
    return lines


def _head(embedder: Embedder) -> dict[str, Tensor]:
    """Return the tensors of pooling and, where it is searched with, head."""
    parts = {"pooling": embedder.pooling, **({"head": embedder.head} if embedder.search_head else {})}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


@torch.inference_mode()
def _gives_tokens(net: nn.Module) -> bool:
    size = net.pretrained_cfg["input_size"]  # type: ignore[index]
    return bool(net.forward_features(torch.zeros(1, *size)).ndim == 3)  # type: ignore[operator]


def _complete(file: Path, network: ExportedNetwork) -> None:
    """Add how images are prepared. Pooling is left to timm where it needs no weights that the backbone lacks."""
    config = json.loads(file.read_text(encoding="utf-8"))
    side = network.image_size
    config["pretrained_cfg"].update(input_size=[3, side, side], crop_pct=1.0, crop_mode="center")
    config["pretrained_cfg"].update(interpolation="bicubic", num_classes=0)
    if (origin := network.embedder.backbone.origin) is not None:
        config["pretrained_cfg"]["license"] = origin.licence  # that of the network's name in timm is of other weights
    for name in ("test_input_size", "pool_size"):
        config["pretrained_cfg"].pop(name, None)
    arguments = {name: value for name, value in config["model_args"].items() if name != "global_pool"}
    pooled = timm.create_model(config["architecture"], **{"num_classes": 0, **arguments})
    if pooled.state_dict().keys() == network.embedder.backbone.net.state_dict().keys():
        config["model_args"] = arguments
    write_json(file, config)
