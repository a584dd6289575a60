"""What fine-tuning is measured against is computed once and kept."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.encoding import Encoders
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator, device_for, references
from conspecific.images import workers_for
from conspecific.models import Backbone

baseline = sys.modules["conspecific.evaluation.baseline"]


@pytest.fixture
def evaluator(make_folder: Callable[..., Path]) -> Evaluator:
    manifest = from_folder(str(make_folder({"robin": 8, "wren": 8, "owl": 8})))
    splits = split(manifest, "seen")
    return Evaluator(manifest, splits, manifest.fingerprint(), 32, 1, torch.device("cpu"), Console(quiet=True))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


def write_weights(file: Path) -> Path:
    state = Backbone("resnet18", "none").net.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    return file


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the backbones that were built."""
    names: list[str] = []

    def build(name: str, weights: str) -> Backbone:
        names.append(name)
        return Backbone(name, weights)

    monkeypatch.setattr(baseline, "Backbone", build)
    return names


def test_random_weights_are_the_same_whatever_was_drawn_before() -> None:
    state = torch.get_rng_state()
    first = baseline.untrained("test_resnet", "none").state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert all(map(torch.equal, first.values(), baseline.untrained("test_resnet", "none").state_dict().values()))


def test_both_references_come_from_one_backbone(
    evaluator: Evaluator, weights: Path, tmp_path: Path, made: list[str]
) -> None:
    found = references(evaluator, "test", "resnet18", str(weights), tmp_path)
    assert made == ["resnet18"]
    assert {name: result.facts["similarity"] for name, result in found.items()} == {"flatten": "l2", "pooled": "cosine"}
    for name, result in found.items():
        assert result.facts["name"] == name
        assert result.facts["subset"] == "test"
        assert result.facts["protocol"] == "seen"
        assert result.facts["image_size"] == 32
        assert result.facts["queries"] == result.facts["gallery"] == 12


def test_a_second_call_computes_nothing_and_gives_the_same(
    evaluator: Evaluator, weights: Path, tmp_path: Path, made: list[str]
) -> None:
    first = references(evaluator, "test", "resnet18", str(weights), tmp_path)
    again = references(evaluator, "test", "resnet18", str(weights), tmp_path)
    assert len(made) == 1
    for name in first:
        assert again[name].metrics == first[name].metrics
        assert again[name].facts == first[name].facts
        assert again[name].per_query.equals(first[name].per_query)


def test_a_copy_of_the_weights_counts_as_the_same(
    evaluator: Evaluator, weights: Path, tmp_path: Path, made: list[str]
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    for file in (weights, copy):
        references(evaluator, "test", "resnet18", str(file), tmp_path)
    assert len(made) == 1


@pytest.mark.parametrize(
    "change", ["weights", "size", "subset", "images", "split", "protocol", "metrics", "precision", "code"]
)
def test_whatever_the_numbers_depend_on_makes_them_be_computed_anew(
    change: str, evaluator: Evaluator, weights: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    references(evaluator, "test", "resnet18", str(weights), tmp_path)
    subset = "test"
    if change == "weights":
        weights = write_weights(tmp_path / "other.safetensors")
    elif change == "size":
        evaluator = dataclasses.replace(evaluator, image_size=40)
    elif change == "subset":
        subset = "val"
    elif change == "images":
        evaluator = dataclasses.replace(evaluator, fingerprint="another")
    elif change == "split":
        evaluator = dataclasses.replace(evaluator, splits=split(evaluator.manifest, "seen", seed=1))
    elif change == "protocol":
        evaluator = dataclasses.replace(evaluator, splits=dataclasses.replace(evaluator.splits, protocol="unseen"))
    elif change == "metrics":
        evaluator = dataclasses.replace(evaluator, ks=(1, 2))
    elif change == "precision":
        evaluator = dataclasses.replace(evaluator, encoders=Encoders(precision="bfloat16"))
    else:
        monkeypatch.setattr(baseline, "SCORING", baseline.SCORING + 1)
    references(evaluator, subset, "resnet18", str(weights), tmp_path)
    assert len(made) == 2


def test_a_run_that_was_cut_off_while_writing_is_computed_anew(
    evaluator: Evaluator, weights: Path, tmp_path: Path, made: list[str]
) -> None:
    references(evaluator, "test", "resnet18", str(weights), tmp_path)
    [stored] = tmp_path.rglob("pooled.json")
    stored.unlink()
    references(evaluator, "test", "resnet18", str(weights), tmp_path)
    assert len(made) == 2
    assert stored.exists()


def test_a_digit_that_changed_is_never_reported_as_the_baseline(
    evaluator: Evaluator, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = references(evaluator, "test", "resnet18", str(weights), tmp_path)["pooled"].metrics
    [stored] = tmp_path.rglob("pooled.json")
    whole = stored.read_text()
    for content in (whole.replace(str(first["map@r"]), "0.99"), whole[:100]):
        assert content != whole
        stored.write_text(content)
        assert references(evaluator, "test", "resnet18", str(weights), tmp_path)["pooled"].metrics == first
        assert "cannot be used, pooled.json was changed: it is made again." in capsys.readouterr().out


def test_unknown_parts_and_devices_are_named(evaluator: Evaluator) -> None:
    with pytest.raises(ConfigError, match=r"subset=train is unknown\. Known here: test, val\."):
        evaluator.subset("train")
    with pytest.raises(ConfigError, match="device=gpu cannot be used here"):
        device_for("gpu")
    assert device_for("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named_before_anything_is_embedded() -> None:
    with pytest.raises(ConfigError, match="device=cuda cannot be used here"):
        device_for("cuda")
    assert device_for("auto") == torch.device("cpu")


def test_workers_are_as_asked_or_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_for(0) == 0
    assert workers_for(3) == 3
    for usable, workers in ((1, 1), (2, 2), (64, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, n=usable: set(range(n)), raising=False)
        assert workers_for(None) == workers
    # macOS and Windows have no affinity to ask for: there the cores of the machine count.
    monkeypatch.delattr("os.sched_getaffinity")
    for cores, workers in ((64, 8), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda found=cores: found)
        assert workers_for(None) == workers
