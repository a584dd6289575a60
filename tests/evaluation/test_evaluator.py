"""One set-up for the baseline, every epoch and the final test."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from conspecific.data.dataset import EvaluationImages, Item
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.encoding import Encoder, Encoders, KeptActivations
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator, device_for
from conspecific.images import workers_for
from conspecific.models import Backbone, Embedder, FrozenStages, build_embedder


@pytest.fixture
def evaluator(make_folder: Callable[..., Path]) -> Evaluator:
    manifest = from_folder(str(make_folder({"robin": 8, "wren": 8, "tit": 9})))
    splits = split(manifest, "seen", val_share=0.5)
    return Evaluator(manifest, splits, "unread", 32, 1, torch.device("cpu"), Console(quiet=True))


def embedder_of(stages: int | None, backbone: str = "resnet18") -> Embedder:
    torch.manual_seed(0)
    return build_embedder(backbone, "none", head="linear", dimensions=8, trainable_stages=stages, freeze_norms=False)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts images that are read, and those that go through the whole backbone, its frozen and its trained subset."""
    counts = {"read": 0, "forward": 0, "activations": 0, "forward_tail": 0}
    read = EvaluationImages.__getitem__

    def reading(images: EvaluationImages, place: int) -> Item:
        counts["read"] += 1
        return read(images, place)

    def counted(kind: type[torch.nn.Module], method: str, name: str) -> Callable[..., torch.Tensor]:
        original = getattr(kind, method)

        def counting(network: torch.nn.Module, given: torch.Tensor) -> torch.Tensor:
            counts[name] += len(given)
            found: torch.Tensor = original(network, given)
            return found

        return counting

    monkeypatch.setattr(EvaluationImages, "__getitem__", reading)
    for kind, method, name in (
        (Backbone, "forward", "forward"),
        (FrozenStages, "forward", "activations"),
        (Backbone, "forward_tail", "forward_tail"),
    ):
        monkeypatch.setattr(kind, method, counted(kind, method, name))
    return counts


@pytest.mark.parametrize("stages", [0, 1])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_encoded_once_scores_as_what_is_encoded_anew(evaluator: Evaluator, stages: int, training: bool) -> None:
    embedder, ids = embedder_of(stages).train(training), evaluator.splits.val.ids
    once = evaluator.encoded_once(embedder.backbone, "val")
    assert len(once.activations["val"].rows) == len(ids)
    for _ in range(2):
        wanted, found = (each.score({"model": embedder}, "val", "")["model"] for each in (evaluator, once))
        assert found.metrics == wanted.metrics
        assert found.facts["queries"] == wanted.facts["queries"]
        assert found.facts["encoder"] == wanted.facts["encoder"] == "torch, float32"
        columns = ["path", "neighbor_paths"]
        assert found.per_query.select(columns).equals(wanted.per_query.select(columns))
        nearness = [np.array(each.per_query["neighbor_scores"].to_list()) for each in (found, wanted)]
        np.testing.assert_allclose(*nearness, atol=1e-5)
        with torch.no_grad():  # as an epoch does
            for parameter in embedder.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter) * parameter.requires_grad)
    assert evaluator.activations == {}, "the one before is left as it was"


def test_results_say_which_encoder_made_them(evaluator: Evaluator) -> None:
    embedder = embedder_of(1).eval()
    encoder = Encoder("openvino", "bfloat16", lambda images: embedder.backbone(images).detach())
    other = evaluator.score({"model": embedder}, "val", "", encoder)["model"]
    assert other.facts["encoder"] == "openvino, bfloat16"
    once = evaluator.encoded_once(embedder.backbone, "val")
    named = replace(once.activations["val"], encoder="openvino, float32", stages="")
    once = replace(once, activations={"val": named})
    assert once.score({"model": embedder}, "val", "")["model"].facts["encoder"] == "openvino, float32"
    assert not once.has_activations(embedder.backbone, "val"), "they are of other stages"


def test_what_an_earlier_run_encoded_is_not_encoded_again(
    evaluator: Evaluator, tmp_path: Path, work: dict[str, int]
) -> None:
    """Images are known by their content; one that is new is encoded alone."""
    embedder, ids = embedder_of(1), evaluator.splits.val.ids
    contents = [f"{index:032x}" for index in range(len(evaluator.manifest))]
    keeping = replace(evaluator, contents=contents, kept=KeptActivations(tmp_path / "kept"))
    first = keeping.encoded_once(embedder.backbone, "val").score({"model": embedder}, "val", "")["model"]
    assert work["activations"] == work["read"] == len(ids)
    later = replace(keeping, kept=KeptActivations(tmp_path / "kept"))
    again = later.encoded_once(embedder.backbone, "val").score({"model": embedder}, "val", "")["model"]
    assert again.metrics == first.metrics and again.facts == first.facts
    assert work["activations"] == work["read"] == len(ids)
    contents[int(ids[2])] = "f" * 32
    changed = replace(keeping, contents=contents, kept=KeptActivations(tmp_path / "kept"))
    changed.encoded_once(embedder.backbone, "val")
    assert work["activations"] == work["read"] == len(ids) + 1


@pytest.mark.parametrize(("noise", "taken"), [(0.0, "bfloat16"), (9.0, "float32")])
def test_bfloat16_is_used_where_scores_stay_as_they_are(
    evaluator: Evaluator, noise: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(self: Encoders, network: torch.nn.Module, sample: object, images: int, *, reduced: bool) -> Encoder:
        def run(images: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = network(images).detach()
            return found + noise * found.std() * torch.randn_like(found) if reduced else found

        return Encoder("openvino", "bfloat16" if reduced else "float32", run)

    said: list[str] = []
    monkeypatch.setattr(Encoders, "open", opened)
    asked = replace(evaluator, encoders=Encoders("auto", "auto", say=said.append))
    backbone = embedder_of(1).backbone
    once = asked.encoded_once(backbone, "val").encoded_once(backbone, "test")
    assert once.frozen is not None and once.frozen.encoder.precision == taken
    assert once.has_activations(backbone, "val") and once.has_activations(backbone, "test")
    assert len(said) == (taken == "float32")
    if said:
        assert said[0].startswith("openvino, bfloat16 is not used: it moves the pooled reference's recall@1 by ")


def test_other_frozen_stages_begin_anew(evaluator: Evaluator) -> None:
    first, second = embedder_of(1).backbone, embedder_of(1).backbone
    with torch.no_grad():
        second.net.conv1.weight.mul_(2)
    once = evaluator.encoded_once(first, "val").encoded_once(second, "test")
    assert set(once.activations) == {"test"} and once.has_activations(second, "test")


def test_a_network_without_frozen_stages_is_run_in_the_precision_that_is_asked_for(evaluator: Evaluator) -> None:
    embedder = embedder_of(None)
    reduced = replace(evaluator, encoders=Encoders(precision="bfloat16"))
    exact, found = (each.score({"model": embedder}, "val", "")["model"] for each in (evaluator, reduced))
    assert (exact.facts["encoder"], found.facts["encoder"]) == ("torch, float32", "torch, bfloat16")
    scores = [np.array(each.per_query["neighbor_scores"].to_list()) for each in (exact, found)]
    assert not np.array_equal(*scores) and np.allclose(*scores, atol=0.05)


def test_epochs_finish_what_was_begun_once(evaluator: Evaluator, work: dict[str, int]) -> None:
    embedder, ids = embedder_of(1), evaluator.splits.val.ids
    once = evaluator.encoded_once(embedder.backbone, "val")
    for _ in range(3):
        once.score({"model": embedder}, "val", "")
    assert work == {"read": len(ids), "forward": 0, "activations": len(ids), "forward_tail": 3 * len(ids)}


def test_other_parts_are_read_as_ever(evaluator: Evaluator, work: dict[str, int]) -> None:
    embedder, train = embedder_of(1), evaluator.splits.train
    once = evaluator.encoded_once(embedder.backbone, "train").encoded_once(embedder.backbone, "val")
    assert set(once.activations) == {"train", "val"}
    begun = work["read"]
    once.score({"model": embedder}, "test", "")
    assert work["forward"] == work["read"] - begun == len(evaluator.splits.test.ids)
    begun = work["read"]
    rows = once.embed_training(embedder, "")
    assert work["read"] == begun
    np.testing.assert_allclose(
        rows.vectors, evaluator.embed({"model": embedder}, train, "")["model"].vectors, atol=1e-5
    )
    assert rows.ids.tolist() == train.tolist()


def test_what_the_disk_cannot_hold_is_encoded_anew(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told, backbone = replace(evaluator, console=Console(width=200)), embedder_of(1).backbone
    needed = 4 * len(told.splits.train) * backbone.activations(torch.zeros(1, 3, 32, 32)).numel()
    monkeypatch.setattr(KeptActivations, "room", lambda _: needed - 1)
    assert told.encoded_once(backbone, "train") is told
    assert "The train images are encoded every time: their activations would take 0.0 GB." in capsys.readouterr().out
    monkeypatch.setattr(KeptActivations, "room", lambda _: needed)
    assert set(told.encoded_once(backbone, "train").activations) == {"train"}


@pytest.mark.parametrize(("stages", "backbone"), [(None, "resnet18"), (1, "swin_tiny_patch4_window7_224")])
def test_where_nothing_can_be_kept_nothing_changes(
    evaluator: Evaluator, stages: int | None, backbone: str, work: dict[str, int]
) -> None:
    embedder = embedder_of(stages, backbone)
    same = replace(evaluator, image_size=224 if "224" in backbone else 32)
    assert same.encoded_once(embedder.backbone, "val") is same
    result = same.score({"model": embedder}, "val", "")["model"]
    assert work["forward"] == len(same.splits.val.ids)
    assert 0 <= result.metrics["map@r"] <= 1


def test_facts_say_what_was_scored(evaluator: Evaluator) -> None:
    facts = evaluator.score({"mine": embedder_of(0)}, "test", "")["mine"].facts
    assert (facts["name"], facts["subset"], facts["protocol"], facts["image_size"]) == ("mine", "test", "seen", 32)


def test_a_part_that_is_not_there_is_named(evaluator: Evaluator) -> None:
    with pytest.raises(ConfigError, match=r"subset=train is unknown\. Known here: test, val\."):
        evaluator.subset("train")


def test_workers_and_devices() -> None:
    assert workers_for(0) == 0
    assert 1 <= workers_for(None) <= 8
    assert device_for("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="device=abacus cannot be used here"):
        device_for("abacus")
