"""Whole runs with each way to train, and with all of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from conspecific.config.run_directory import RunDirectory
from conspecific.data.dataset import EvaluationPictures, Item, TrainingPictures, View
from conspecific.errors import ConfigError
from conspecific.models import Embedder
from conspecific.training import fit, shares
from conspecific.training.module import FineTuner
from conspecific.training.run import Outcome
from conspecific.types import EvalResult

pytestmark = pytest.mark.slow

TrainTiny = Callable[..., Outcome | None]
Watched = list[dict[str, Any]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """What each training step is given, and the weights it starts from."""
    found: Watched = []
    plain = FineTuner.training_step

    def training_step(module: FineTuner, batch: Item, batch_idx: int) -> Tensor:
        weights = {name: tensor.clone() for name, tensor in module.embedder.state_dict().items()}
        shape = batch["image"].shape[-1] if "image" in batch else None
        found.append({"epoch": module.current_epoch, "weights": weights, "side": shape, "ids": batch["index"].tolist()})
        return plain(module, batch, batch_idx)

    monkeypatch.setattr(FineTuner, "training_step", training_step)
    return found


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The parts of an embedder that hold other bits than before."""
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_head_learns_first_and_the_backbone_after(tmp_path: Path, train_tiny: TrainTiny, steps: Watched) -> None:
    train_tiny(tmp_path, "recipe.head_epochs=1", "model.pooling=gem")
    first = {epoch: next(step["weights"] for step in steps if step["epoch"] == epoch) for epoch in range(3)}
    assert changed(first[0], first[1]) == {"head", "pooling"}
    assert "backbone" in changed(first[1], first[2])


def test_crops_grow_with_the_epochs(tmp_path: Path, train_tiny: TrainTiny, steps: Watched) -> None:
    train_tiny(tmp_path, "recipe.start_size=32", "trainer.max_epochs=4")
    sides = [{step["side"] for step in steps if step["epoch"] == epoch} for epoch in range(4)]
    assert sides == [{32}, {32}, {32}, {64}]


def test_frozen_stages_are_computed_once_for_every_view_and_every_validation_picture(
    tmp_path: Path, train_tiny: TrainTiny, steps: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[View] = []
    read: list[int] = []
    plain, plainly = TrainingPictures.__getitem__, EvaluationPictures.__getitem__
    monkeypatch.setattr(TrainingPictures, "__getitem__", lambda self, view: views.append(view) or plain(self, view))
    monkeypatch.setattr(
        EvaluationPictures, "__getitem__", lambda self, place: read.append(self.ids[place]) or plainly(self, place)
    )
    train_tiny(tmp_path / "first")  # the baseline is computed here, if in no test before
    views.clear()
    read.clear()
    outcome = train_tiny(tmp_path / "second", "recipe.cached_views=3", "recipe.hard_negatives=0.4")
    assert outcome is not None
    assert len(views) == len(set(views)) == 3 * 10
    assert all(step["side"] is None for step in steps[-6:])
    validated = len(outcome.validation["model"].per_query)
    tested = len(outcome.test["model"].per_query)
    # each training picture once for what is confused; ArcFace's species begin from the first of the views
    assert len(read) == validated + tested + 10


def test_what_is_kept_is_the_average_of_the_weights(tmp_path: Path, train_tiny: TrainTiny, steps: Watched) -> None:
    """With nearly all of itself kept at every step, the average stays behind what is trained."""
    outcome = train_tiny(tmp_path, "recipe.ema=0.99", "trainer.max_epochs=2")
    assert outcome is not None
    checkpoint = torch.load(RunDirectory(tmp_path).checkpoints / "last.ckpt", weights_only=True)["state_dict"]
    trained, average = (checkpoint[f"{where}.head.weight"] for where in ("embedder", "average.module"))
    began = steps[0]["weights"]["head.weight"]
    assert 0 < (average - began).norm() < (trained - began).norm()
    assert int(checkpoint["average.n_averaged"]) == 4


def test_confused_species_make_other_batches_from_the_first_epoch_on(
    tmp_path: Path, train_tiny: TrainTiny, steps: Watched
) -> None:
    train_tiny(tmp_path / "plain", "trainer.max_epochs=1")
    train_tiny(tmp_path / "hard", "trainer.max_epochs=1", "recipe.hard_negatives=0.4")
    plain, hard = (steps[place]["ids"] for place in (0, 2))
    assert plain[:4] == hard[:4] != plain[4:]
    assert len(plain) == len(hard) == 6
    assert plain[4:] != hard[4:]


def test_beginnings_of_an_embedding_are_trained_to_stand_alone(
    tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[list[int]] = []
    plain = FineTuner.__init__

    def init(module: FineTuner, embedder: Embedder, loss: Any, *others: Any) -> None:
        lengths.append(list(loss.dimensions))
        plain(module, embedder, loss, *others)

    monkeypatch.setattr(FineTuner, "__init__", init)
    train_tiny(tmp_path / "a", "recipe.matryoshka=[4,8]", "trainer.max_epochs=1")
    train_tiny(tmp_path / "b", "recipe.matryoshka=[4,16]", "trainer.max_epochs=1")
    assert lengths == [[4, 8, 16], [4, 16]], "the whole always, and once"
    with pytest.raises(ConfigError, match=r"recipe\.matryoshka=\[4, 32\], but an embedding has 16 dimensions"):
        train_tiny(tmp_path / "c", "recipe.matryoshka=[4,32]")


@pytest.mark.parametrize("liked", [True, False])
def test_a_share_of_the_way_is_kept_where_validation_likes_it_better(
    liked: bool, tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's weights lie on the line from before training to after it, where its record says."""

    def best_share(*arguments: Any) -> tuple[float, EvalResult, Embedder]:
        share, result, mixed = shares.best_share(*arguments)
        return share, replace(result, metrics={**result.metrics, "map@r": 2.0 if liked else -1.0}), mixed

    monkeypatch.setattr(fit, "best_share", best_share)
    outcome = train_tiny(tmp_path, "recipe.tuned_shares=[0.25]")
    assert outcome is not None
    run = RunDirectory(tmp_path)
    share = 0.25 if liked else 1.0
    assert outcome.facts["tuned_share"] == share
    assert outcome.facts["chosen_epoch"] == outcome.validation["model"].facts["epoch"]
    assert outcome.score == (2.0 if liked else max(line["map@r"] for line in run.read_epochs()))
    checkpoint = run.checkpoints / ("last.ckpt" if liked else "best.ckpt")
    start, end = load_file(run.start), torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, kept in load_file(run.weights).items():
        if kept.is_floating_point():
            torch.testing.assert_close(kept, (1 - share) * start[name] + share * end[f"embedder.{name}"])
    assert not torch.equal(start["head.weight"], end["embedder.head.weight"])
