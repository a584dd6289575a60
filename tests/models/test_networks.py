"""Networks by name: of a folder, of the hub, and what is said where the hub cannot be reached."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from conspecific.errors import ConfigError
from conspecific.models import Backbone
from conspecific.models.weights import weights_identity


def saved(folder: Path, **config: object) -> Path:
    """Write a folder as timm saves a model for the hub."""
    folder.mkdir(parents=True)
    model = timm.create_model("test_vit", num_classes=3)
    source = {"architecture": "test_vit", "num_classes": 3, "pretrained_cfg": {**model.pretrained_cfg, **config}}
    (folder / "config.json").write_text(json.dumps(source))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def has_weights_of(backbone: Backbone, folder: Path) -> bool:
    given = load_file(folder / "model.safetensors")
    return all(torch.equal(tensor, given[name]) for name, tensor in backbone.net.state_dict().items())


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No network, and an empty cache of the hub; returns what was asked for."""
    asked: list[str] = []

    def refuse(request: object, timeout: float) -> None:
        asked.append(request.full_url)  # type: ignore[attr-defined]
        raise URLError("Name or service not known")

    monkeypatch.setattr("conspecific.reachable.urlopen", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return asked


def test_a_network_of_a_folder_takes_any_size_and_has_its_weights(tmp_path: Path, unreachable: list[str]) -> None:
    folder = saved(tmp_path / "my model", mean=[0.1, 0.2, 0.3])
    backbone = Backbone(f"local-dir:{folder}", "timm").eval()
    assert has_weights_of(backbone, folder)
    assert backbone.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 1 + 16, 1)
    assert backbone.is_pooled_by_class_token
    assert not unreachable, "a folder needs no network"


def test_the_identity_of_a_folder_is_its_content(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    before = weights_identity(f"local-dir:{folder}", "timm")
    saved(tmp_path / "other", mean=[0.0, 0.0, 0.0])
    assert before != weights_identity(f"local-dir:{tmp_path / 'other'}", "timm")
    assert weights_identity("test_vit", "timm") == "timm"


def test_without_a_network_the_cache_of_the_hub_is_used(tmp_path: Path, unreachable: list[str]) -> None:
    repository = tmp_path / "hub" / "models--org--name"
    folder = saved(repository / "snapshots" / "0a1b")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0a1b")
    assert has_weights_of(Backbone("hf-hub:org/name", "timm"), folder)
    assert unreachable == [constants.ENDPOINT]


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        (
            "resnet18",
            "timm",
            r"model\.backbone=resnet18 with model\.weights=timm needs files of https://huggingface\.co",
        ),
        (
            "hf-hub:org/name",
            "none",
            r"model\.backbone=hf-hub:org/name needs .*=FILE, .* model\.backbone=local-dir:FOLDER",
        ),
    ],
)
def test_without_a_network_the_way_with_a_file_is_named_at_once(
    name: str, weights: str, message: str, unreachable: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Backbone(name, weights)
    assert "but it cannot be reached and its cache here does not have them. Give model.weights=FILE" in str(
        caught.value
    )
    assert len(unreachable) == 1
    assert capfd.readouterr() == ("", "")
    assert not constants.HF_HUB_OFFLINE, "the hub is asked again next time"


def test_the_hub_is_not_asked_with_hf_hub_offline(monkeypatch: pytest.MonkeyPatch, unreachable: list[str]) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="but HF_HUB_OFFLINE is set and"):
        Backbone("resnet18", "timm")
    assert not unreachable


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: None, r"resnet18 with model\.weights=timm cannot be made: no such repository"),
        (lambda: HTTPError("", 405, "not allowed", {}, None), "cannot be made: no such repository"),  # type: ignore
    ],
)
def test_a_hub_that_answers_is_not_taken_for_unreachable(
    answer: Callable[[], Exception | None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        def close(self) -> None: ...

    def respond(*_: object, **__: object) -> Answer:
        if error := answer():
            raise error
        return Answer()

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("no such repository\n\nsee the manual")

    monkeypatch.setattr("conspecific.reachable.urlopen", respond)
    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    with pytest.raises(ConfigError, match=message):
        Backbone("resnet18", "timm")


def test_a_folder_of_another_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["ResNetForImageClassification"]}))
    with pytest.raises(ConfigError, match=r"local-dir:.* is not described as a model of timm: no 'architecture'"):
        Backbone(f"local-dir:{tmp_path}", "none")
