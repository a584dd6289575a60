"""Weights published for animals and plants: small made-up files of the same layout load into timm, tensor by tensor."""

import json
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from conspecific.errors import ConfigError, RunError
from conspecific.models import Backbone, build_embedder
from conspecific.models.origins import IMAGENET, Origin, published
from conspecific.models.weights import read_origin, save_weights
from conspecific.runs.load import load

CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


def small(folder: Path, architecture: str, moments: dict[str, list[float]] | None = None, **arguments: object) -> str:
    """Describe a small network of timm in a folder; return its name as a backbone."""
    folder.mkdir(exist_ok=True)
    config = {"architecture": architecture, "num_classes": 0, "model_args": arguments, "pretrained_cfg": moments or {}}
    (folder / "config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def random_weights(name: str) -> dict[str, Tensor]:
    """Return weights of a network that no initialisation has left at zero or one."""
    generator = torch.Generator().manual_seed(1)
    own: dict[str, Tensor] = Backbone(name, "none").net.state_dict()
    return {key: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
            for key, value in own.items()}  # fmt: skip


def assert_loaded(name: str, file: Path, wanted: dict[str, Tensor]) -> Backbone:
    backbone = Backbone(name, str(file))
    own = backbone.net.state_dict()
    assert own.keys() == wanted.keys()
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)
    return backbone


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


def test_bioclip_2_is_the_visual_tower_of_an_open_clip_file(tmp_path: Path) -> None:
    name = small(tmp_path / "vit", "vit_base_patch16_224", CLIP, **VIT, pre_norm=True)
    wanted = random_weights(name)
    names = {
        "patch_embed.proj.weight": "conv1.weight", "cls_token": "class_embedding", "pos_embed": "positional_embedding",
        "norm_pre.weight": "ln_pre.weight", "norm_pre.bias": "ln_pre.bias", "norm.weight": "ln_post.weight",
        "norm.bias": "ln_post.bias",
    }  # fmt: skip
    inside = {
        "norm1": "ln_1", "norm2": "ln_2", "attn.qkv.": "attn.in_proj_", "attn.proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    }  # fmt: skip
    published_file = {"visual.proj": torch.zeros(16, 8), "logit_scale": torch.tensor(4.6)}
    for key, value in wanted.items():
        theirs = names.get(key, key.replace("blocks.", "transformer.resblocks."))
        for mine, other in inside.items():
            theirs = theirs.replace(mine, other)
        published_file[f"visual.{theirs}"] = value.flatten() if key == "cls_token" else value
    published_file["visual.positional_embedding"] = wanted["pos_embed"][0]
    published_file["transformer.resblocks.0.ln_1.weight"] = torch.zeros(8)  # of the text
    file = tmp_path / "models--imageomics--bioclip-2" / "open_clip_model.safetensors"
    file.parent.mkdir()
    save_file({key: value.contiguous() for key, value in published_file.items()}, file)

    backbone = assert_loaded(name, file, wanted)
    assert backbone.origin == Origin("BioCLIP 2", "Imageomics", "MIT")
    with torch.no_grad():  # an attention of open_clip's kind, nn.MultiheadAttention, gives what that of timm does
        theirs_attention = nn.MultiheadAttention(16, 2, batch_first=True)
        prefix = "visual.transformer.resblocks.0.attn."
        theirs_attention.load_state_dict({k.removeprefix(prefix): v for k, v in published_file.items() if prefix in k})
        tokens = torch.randn(1, 5, 16)
        torch.testing.assert_close(
            theirs_attention(tokens, tokens, tokens)[0], backbone.net.blocks[0].attn(tokens), rtol=1e-4, atol=1e-4
        )
    other = small(tmp_path / "other", "vit_base_patch16_224", **VIT, pre_norm=True)  # whose mean and std are 0.5
    with pytest.raises(ConfigError, match=r"BioCLIP 2 was trained on .* mean \(0\.481.*clip_224\.openai"):
        Backbone(other, str(file))


def test_a_vision_transformer_of_birder_keeps_the_positions_of_its_registers(tmp_path: Path) -> None:
    moments = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    registers = {"reg_tokens": 4, "no_embed_class": True, "init_values": 1e-5}
    name = small(tmp_path / "vit", "vit_base_patch16_224", moments, **VIT, **registers)
    wanted = random_weights(name)
    positions = torch.randn(1, 5, 16)  # of the registers, then of the class token
    state = {"classifier.weight": torch.zeros(3, 16), "classifier.bias": torch.zeros(3)}
    names = {"cls_token": "class_token", "reg_token": "reg_tokens", "pos_embed": "pos_embedding"}
    inside = {
        "patch_embed.proj": "conv_proj", "blocks.": "encoder.block.", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3",
        "ls1": "layer_scale_1", "ls2": "layer_scale_2",
    }  # fmt: skip
    for key, value in wanted.items():
        theirs = names.get(key, key)
        for mine, other in inside.items():
            theirs = theirs.replace(mine, other)
        state[theirs] = value.clone()
    state["pos_embedding"] = torch.cat([positions, wanted["pos_embed"]], dim=1)
    wanted["reg_token"] = wanted["reg_token"] + positions[:, :4]
    wanted["cls_token"] = wanted["cls_token"] + positions[:, 4:]
    content = {"state": state, "birder_version": "0.4", "task": "image_classification", "rgb_stats": moments}
    torch.save({**content, "class_to_idx": {"robin": 0}, "signature": {"inputs": []}}, tmp_path / "net.pt")

    assert assert_loaded(name, tmp_path / "net.pt", wanted).origin == Origin(
        "Birder", "the Birder project", "Apache-2.0"
    )
    torch.save({**content, "rgb_stats": CLIP}, tmp_path / "net.pt")
    with pytest.raises(ConfigError, match=r"Birder was trained .*=local-dir:FOLDER, with them in its config\.json"):
        Backbone(name, str(tmp_path / "net.pt"))
    for odd in ({"mean": [0.5]}, {"mean": [0.5], "std": [0.5]}, {"mean": "abc", "std": "abc"}):
        torch.save({**content, "rgb_stats": odd}, tmp_path / "net.pt")
        with pytest.raises(ConfigError, match="holds rgb_stats"):
            Backbone(name, str(tmp_path / "net.pt"))


def test_miewid_is_known_by_its_tensors(tmp_path: Path) -> None:
    name = small(tmp_path / "net", "test_efficientnet", {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    wanted = random_weights(name)
    behind = {"backbone.global_pool.p": torch.tensor([3.0]), "final.weight": torch.zeros(10, 256)}
    norm = {f"bn.{key}": value for key, value in nn.BatchNorm1d(256).state_dict().items()}
    save_file(
        {**{f"backbone.{key}": value for key, value in wanted.items()}, **norm, **behind}, tmp_path / "m.safetensors"
    )
    origin = assert_loaded(name, tmp_path / "m.safetensors", wanted).origin
    assert origin is not None and origin.name == "MiewID" and "ask its authors" in origin.licence
    with pytest.raises(ConfigError, match=r"MiewID was trained .*set model\.backbone=efficientnetv2_rw_m"):
        Backbone(small(tmp_path / "half", "test_efficientnet", {"mean": [0.5] * 3, "std": [0.5] * 3}),
                 str(tmp_path / "m.safetensors"))  # fmt: skip


def reference_of_miewid(name: str, tensors: dict[str, Tensor], exponent: str, images: Tensor) -> Tensor:
    """The embedding as its authors compute it: backbone, generalised mean over positions, batch norm."""
    net, norm = Backbone(name, "none").net.eval(), nn.BatchNorm1d(256).eval()
    net.load_state_dict(
        {key.removeprefix("backbone."): value for key, value in tensors.items() if key.startswith("backbone.")
         and key != exponent}
    )  # fmt: skip
    norm.load_state_dict({key.removeprefix("bn."): value for key, value in tensors.items() if key.startswith("bn.")})
    mean, std = (torch.tensor(moment).view(1, 3, 1, 1) for moment in IMAGENET)
    features, p = net.forward_features((images.float() / 255 - mean) / std), float(tensors[exponent])
    pooled = F.avg_pool2d(features.clamp(min=1e-6) ** p, features.shape[-2:]) ** (1 / p)
    embeddings: Tensor = norm(pooled.flatten(1))
    return embeddings


@pytest.mark.parametrize("exponent", ["backbone.global_pool.p", "pooling.p"])
@torch.no_grad()
def test_miewid_gives_the_embeddings_of_its_authors(tmp_path: Path, exponent: str) -> None:
    mean, std = (list(moment) for moment in IMAGENET)
    name = small(tmp_path / "net", "test_efficientnet", {"mean": mean, "std": std})
    torch.manual_seed(0)
    tensors = {f"backbone.{key}": value for key, value in Backbone(name, "none").net.state_dict().items()}
    tensors |= {"bn.weight": torch.rand(256) + 0.5, "bn.bias": torch.randn(256), "bn.running_mean": torch.rand(256)}
    tensors |= {"bn.running_var": torch.rand(256) + 0.1, "bn.num_batches_tracked": torch.tensor(7)}
    tensors |= {exponent: torch.tensor([2.7]), "final.weight": torch.zeros(10, 256)}
    file = tmp_path / "model.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    wanted = F.normalize(reference_of_miewid(name, tensors, exponent, images))
    embedder = build_embedder(name, str(file), pooling="gem", head="batch_norm").eval()
    assert embedder.pretrained_head and embedder.metric == "cosine"
    torch.testing.assert_close(embedder(images), wanted)
    model = ["model=timm", f"model.backbone={name}"]
    opened = load(file, model=[*model, "model.head=batch_norm"])
    torch.testing.assert_close(opened(images), wanted)
    assert opened.backbone.origin is not None and opened.backbone.origin.name == "MiewID"
    with pytest.raises(RunError, match=r"holds MiewID.*: set model\.pooling=gem and model\.head=batch_norm"):
        load(file, model=[*model, "model.head=linear"])
    assert build_embedder(name, str(file), head="whitened").pretrained_head is False


@pytest.mark.parametrize("before_0_9", [False, True])
def test_megadescriptor_is_a_swin_of_either_layout(tmp_path: Path, before_0_9: bool) -> None:
    swin = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    name = small(tmp_path / "swin", "swin_tiny_patch4_window7_224", **swin)
    wanted = random_weights(name)
    given = {key.replace("layers.1.downsample", "layers.0.downsample") if before_0_9 else key: value
             for key, value in wanted.items()}  # fmt: skip
    given["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)
    file = tmp_path / "MegaDescriptor-T-224" / "pytorch_model.bin"
    file.parent.mkdir()
    torch.save(given, file)
    assert assert_loaded(name, file, wanted).origin == Origin("MegaDescriptor", "BVRA", "CC-BY-NC-4.0")


def test_names_tell_published_weights_from_others() -> None:
    def named(backbone: str, weights: str = "") -> str | None:
        found = published(backbone, weights)
        return found and found.origin.name

    assert named("hf-hub:BVRA/MegaDescriptor-L-384") == "MegaDescriptor"
    assert named("efficientnetv2_rw_m", "downloads/miewid_msv3/model.safetensors") == "MiewID"
    assert named("hf-hub:hassonofer/vit_so150m_patch14_reg4_biodino_252") == "Birder"
    assert named("vit_large_patch14_clip_224.openai", "bioclip-2/open_clip_model.safetensors") == "BioCLIP 2"
    assert named("vit_huge_patch14_clip_224", "bioclip-2.5-vith14/open_clip_model.safetensors") is None
    assert named("resnet50", "mine/weights.safetensors") is None


def test_a_run_says_where_the_weights_came_from_that_it_began_with(tmp_path: Path) -> None:
    embedder = build_embedder("test_resnet", "none", head="none")
    embedder.backbone.origin = Origin("MegaDescriptor", "BVRA", "CC-BY-NC-4.0")
    save_weights(embedder, tmp_path / "weights.safetensors")
    assert read_origin(tmp_path / "weights.safetensors") == embedder.backbone.origin
    assert Backbone("test_resnet", str(tmp_path)).origin == embedder.backbone.origin  # another run that begins with it
    assert timm.get_pretrained_cfg_value("test_resnet", "license") == "apache-2.0"  # which is of timm's weights alone
    assert build_embedder("test_resnet", "none", head="none").backbone.origin is None
