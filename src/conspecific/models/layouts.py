"""State dicts of other libraries, with the names and shapes that timm, or an embedder, gives the same tensors."""

from collections.abc import Collection, Mapping

from torch import Tensor

from conspecific.models.birder_layouts import birder_family, from_birder, replaced
from conspecific.models.state_dict import IN_EMBEDDER

OPEN_CLIP = {
    "conv1.": "patch_embed.proj.",
    "class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "ln_pre.": "norm_pre.",
    "ln_post.": "norm.",
    "transformer.resblocks.": "blocks.",
    ".ln_": ".norm",
    ".attn.in_proj_": ".attn.qkv.",
    ".attn.out_proj.": ".attn.proj.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}
"""What stands in the names of open_clip's vision transformers, and what timm has in its place."""
MIEWID = frozenset({"backbone.conv_stem.weight", "bn.weight", "bn.running_mean"})  # names that no others have together
MIEWID_EXPONENTS = "backbone.global_pool.p", "pooling.p"  # of the file on the hub, and of the code it was trained with


def in_timm_layout(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with the names of timm: of open_clip's visual tower, of a network of Birder, of a Swin
    transformer as timm had it before 0.9. MiewID gets those of an embedder. Others stay as they are.

    Raises ConfigError for a network of Birder whose blocks are not those of its family.
    """
    if holds_miewid(tensors):
        return _miewid(tensors)
    if "visual.class_embedding" in tensors and "visual.conv1.weight" in tensors:
        return _open_clip(tensors)
    if family := birder_family(tensors):
        return from_birder(tensors, family)
    if "layers.0.downsample.reduction.weight" in tensors:
        return {_later(name): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def holds_miewid(names: Collection[str]) -> bool:
    """Whether these are names of the tensors of MiewID, which has a pooling and a batch norm behind its backbone."""
    return set(names) >= MIEWID


def _miewid(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone, the exponent of its GeM pooling and the batch norm that its embeddings come from, with the
    names of an embedder. The class vectors of its training are left out."""
    found = {}
    for name, tensor in tensors.items():
        if name in MIEWID_EXPONENTS:
            found["pooling.p"] = tensor.reshape(())
        elif name.startswith("bn."):
            found[f"head.{name.removeprefix('bn.')}"] = tensor
        elif name.startswith("backbone."):
            found[f"{IN_EMBEDDER}{name.removeprefix('backbone.')}"] = tensor
    return found


def _open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the visual tower without its projection, which belongs to the text."""
    prefix = "visual."
    tower = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    found = {replaced(name, OPEN_CLIP): tensor for name, tensor in tower.items()}
    found["cls_token"] = found["cls_token"].reshape(1, 1, -1)
    found["pos_embed"] = found["pos_embed"].unsqueeze(0)
    return found


def _later(name: str) -> str:
    """Return the name of a tensor of a Swin transformer, whose stages now begin with what they ended with."""
    start, stage, rest = (*name.split(".", 2), "", "")[:3]
    return f"{start}.{int(stage) + 1}.{rest}" if start == "layers" and rest.startswith("downsample.") else name
