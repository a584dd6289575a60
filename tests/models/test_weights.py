"""Weights from files: of a backbone, of a checkpoint, of a run; and files that hold something else."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from conspecific.errors import ConfigError
from conspecific.models import Backbone, Embedder, build_embedder
from conspecific.models.weights import save_weights

NAME = "test_resnet"


def weights() -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in Backbone(NAME, "none").net.state_dict().items()}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def loaded(file: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = Backbone(NAME, str(file)).net.state_dict()
    return found


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.model.encoder."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt"])
def test_weights_are_found_behind_any_prefix(tmp_path: Path, prefix: str, suffix: str) -> None:
    given, file = weights(), tmp_path / f"weights{suffix}"
    content = prefixed(prefix, given) | {"fc.weight": torch.zeros(3, 512)}  # what the backbone lacks is left
    if suffix == ".safetensors":
        save_file(content, file)
    else:
        torch.save({"epoch": 3, "state_dict": content} if suffix == ".ckpt" else content, file)
    assert loaded(file).keys() == given.keys()
    assert all(torch.equal(tensor, given[name]) for name, tensor in loaded(file).items())


def test_of_a_checkpoint_the_running_average_is_taken(tmp_path: Path) -> None:
    last, average = weights(), weights()
    content = prefixed("embedder.backbone.net.", last) | prefixed("average.module.backbone.net.", average)
    torch.save({"state_dict": content}, tmp_path / "best.ckpt")
    found = loaded(tmp_path / "best.ckpt")
    assert torch.equal(found["conv1.0.weight"], average["conv1.0.weight"])
    assert not torch.equal(found["conv1.0.weight"], last["conv1.0.weight"])


def small(start: Path | str, **options: object) -> Embedder:
    plain = {"pooling": "gem", "head": "linear", "dimensions": 8}
    return build_embedder(NAME, str(start), **{**plain, **options})  # type: ignore[arg-type]


def test_from_a_run_come_backbone_pooling_and_a_head_that_fits(tmp_path: Path) -> None:
    trained = small("none")
    assert trained.pretrained_head is None
    trained.pooling.p.data.fill_(2.5)  # type: ignore[operator, union-attr]
    save_weights(trained, tmp_path / "weights.safetensors")
    for start in (tmp_path, tmp_path / "weights.safetensors"):
        again = small(start)
        assert again.pretrained_head is True
        assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in again.state_dict().items())
    for other in ({"dimensions": 4}, {"head": "mlp"}, {"pooling": "avg"}):
        again = small(tmp_path, **other)
        assert again.pretrained_head is False
        assert torch.equal(again.backbone.net.conv1[0].weight, trained.backbone.net.conv1[0].weight)
        assert not torch.equal(next(again.head.parameters()), next(trained.head.parameters()))


def test_a_folder_without_weights_says_which_file_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder without weights\.safetensors.*checkpoints/best\.ckpt"):
        Backbone(NAME, str(tmp_path))


def test_weights_of_another_network_are_refused_and_counted(tmp_path: Path) -> None:
    given = prefixed("module.", weights())
    del given["module.conv1.0.weight"]
    given["module.bn1.weight"] = torch.zeros(3)
    save_file(given, tmp_path / "other.safetensors")
    told = r"not hold the weights of this backbone, test_resnet\. Tensors: 1 missing \(conv1\.0\.weight\), 1 of another"
    with pytest.raises(ConfigError, match=told + r" shape \(bn1\.weight\)$"):
        loaded(tmp_path / "other.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}", b"PK\x03\x04 cut off"])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"weights{suffix}").write_bytes(content)
    with pytest.raises(ConfigError, match=r"weights\.\w+ cannot be read as weights: \w"):
        loaded(tmp_path / f"weights{suffix}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "does not hold a state dict but a list"),
        ({"epoch": 3, "model": {"conv": torch.zeros(2)}}, "it holds epoch, model"),
        (
            {"state_dict": {"conv": torch.zeros(2)}, "args": argparse.Namespace()},
            r"Save the weights alone: torch\.save",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path / "other.pth")
