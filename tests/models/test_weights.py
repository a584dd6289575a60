"""Weights from files: of a backbone, of a checkpoint, of a run; and files that hold something else."""

import argparse
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from conspecific.errors import ConfigError
from conspecific.models import Backbone, Embedder, build_embedder
from conspecific.models.state_dict import read_state_dict
from conspecific.models.tensor_file import read_metadata, read_tensors, save_tensors
from conspecific.models.weights import holds_pooled_reference, save_weights

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


def test_a_flipped_bit_of_weights_is_noticed_and_weights_without_a_checksum_are_read(tmp_path: Path) -> None:
    file, tensors = tmp_path / "weights.safetensors", {"head.weight": torch.ones(4, 3), "steps": torch.tensor(3)}
    save_tensors(tensors, file, {"conspecific": "pooled reference"})
    assert holds_pooled_reference(file)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in read_state_dict(file).items())
    content = bytearray(file.read_bytes())
    content[-5] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"weights\.safetensors is damaged: its checksum is not that of its tensors"):
        read_state_dict(file)
    save_file(tensors, tmp_path / "foreign.safetensors")
    assert read_state_dict(tmp_path / "foreign.safetensors").keys() == tensors.keys()


@pytest.mark.parametrize("way", ["flipped", "compressed"])
def test_a_checkpoint_that_torch_would_read_past_its_damage_is_refused(way: str, tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    torch.save({"state_dict": {"head.weight": torch.full((64, 64), 0.5)}}, file)
    content = bytearray(file.read_bytes())
    content[content.index(b"\0\0\0\x3f" * 4) + 800] ^= 0x40
    told = "it is damaged: the checksum of best/data/0 in it differs"
    if way == "compressed":
        with zipfile.ZipFile(file) as stored, zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as bomb:
            for part in stored.infolist():
                bomb.writestr(part.filename, stored.read(part))
        content, told = bytearray((tmp_path / "bomb").read_bytes()), "its parts are compressed"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        read_state_dict(file)


def test_the_same_tensors_and_metadata_are_the_same_bytes(tmp_path: Path) -> None:
    metadata = {f"key {number}": 'a "word" of Brümmer\n' for number in range(8)}
    for number in range(4):
        save_tensors({"head.weight": torch.ones(4, 3)}, tmp_path / f"{number}.safetensors", metadata)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    assert read_metadata(tmp_path / "0.safetensors").items() >= metadata.items()
    assert read_tensors(tmp_path / "0.safetensors")["head.weight"].sum() == 12
