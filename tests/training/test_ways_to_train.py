"""Whole runs with each way to train, and with all of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import conspecific
from conspecific.data.dataset import AugmentedView, EvaluationImages, Item, TrainingImages
from conspecific.errors import ConfigError
from conspecific.models import Embedder
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, SelectedWeights
from conspecific.training import selection
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.resume import read_checkpoint

pytestmark = pytest.mark.slow

TrainTiny = Callable[..., RunRecord | None]
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


def test_images_drawn_one_by_one_need_class_vectors(tmp_path: Path, train_tiny: TrainTiny) -> None:
    for more in ([], ["recipe.matryoshka=[4,16]"]):
        with pytest.raises(ConfigError, match=r"TripletMarginLoss compares .* loader\.sampling=class_balanced draws"):
            train_tiny(tmp_path, "loss=triplet", "loader.sampling=class_balanced", *more)


def test_crops_grow_with_the_epochs(tmp_path: Path, train_tiny: TrainTiny, steps: Watched) -> None:
    train_tiny(tmp_path, "recipe.initial_size=32", "trainer.max_epochs=4")
    sides = [{step["side"] for step in steps if step["epoch"] == epoch} for epoch in range(4)]
    assert sides == [{32}, {32}, {32}, {64}]


def test_frozen_stages_are_computed_once_for_every_view_and_every_validation_image(
    tmp_path: Path, train_tiny: TrainTiny, steps: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    views: set[AugmentedView] = set()
    read: list[int] = []
    plain, plainly = TrainingImages.augmented, EvaluationImages.__getitem__

    def augmented(images: TrainingImages, sample_id: int, seeds: Sequence[int], size: int) -> list[Image.Image]:
        decoded.append(sample_id)
        views.update(AugmentedView(sample_id, seed, size) for seed in seeds)
        return plain(images, sample_id, seeds, size)

    monkeypatch.setattr(TrainingImages, "augmented", augmented)
    monkeypatch.setattr(
        EvaluationImages, "__getitem__", lambda self, place: read.append(self.ids[place]) or plainly(self, place)
    )
    overrides = ["recipe.cached_augmentations=3", "recipe.hard_negatives=0.4", "encode.backend=torch"]
    overrides.append(f"paths.cache={tmp_path / 'cache'}")
    outcome = train_tiny(tmp_path / "first", *overrides)
    assert outcome is not None
    assert len(views) == 3 * 10
    assert len(decoded) == 10 + 6, "six images tell how long it will take"
    assert all(step["side"] is None for step in steps[-6:])
    validated = len(outcome.validation["model"].per_query)
    tested = len(outcome.test["model"].per_query)
    # each training image once for what is confused; ArcFace's species begin from the first of the views
    assert len(read) == validated + tested + 10
    again = train_tiny(tmp_path / "second", *overrides, "seed=1")
    assert again is not None and again.test["flatten"].metrics == outcome.test["flatten"].metrics
    assert (len(read), len(decoded)) == (validated + tested + 10, 10 + 6), "another run reads no image again"


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

    def init(module: FineTuner, embedder: Embedder, loss: Any, *others: Any, **options: Any) -> None:
        lengths.append(list(loss.dimensions))
        plain(module, embedder, loss, *others, **options)

    monkeypatch.setattr(FineTuner, "__init__", init)
    train_tiny(tmp_path / "a", "recipe.matryoshka=[4,8]", "trainer.max_epochs=1")
    train_tiny(tmp_path / "b", "recipe.matryoshka=[4,16]", "trainer.max_epochs=1")
    assert lengths == [[4, 8, 16], [4, 16]], "the whole always, and once"
    with pytest.raises(ConfigError, match=r"recipe\.matryoshka=\[4, 32\], but an embedding has 16 dimensions"):
        train_tiny(tmp_path / "c", "recipe.matryoshka=[4,32]")


LIKED: dict[str, Callable[[SelectedWeights], bool]] = {
    "pooled": lambda kept: kept.pooled_reference,
    "strength": lambda kept: kept.whitening_strength == 1.0,
    "head fitted": lambda kept: kept == SelectedWeights(0),
    "WiSE-FT": lambda kept: kept.wise_ft_alpha == 0.25 and not kept.whitening_refitted,
    "epoch": lambda kept: kept.is_trained and kept.wise_ft_alpha == 1 and not kept.whitening_refitted,
    "refitted": lambda kept: kept.whitening_refitted,
}


@pytest.mark.parametrize("liked", LIKED)
def test_validation_chooses_what_is_kept(
    liked: str, tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooled reference, the fitted head, an interpolation, an epoch or a refitted whitening: the summary says which
    and the weights are those."""
    plain = selection._scored

    def scored(candidates: Sequence[SelectedWeights], divisions: Sequence[selection.Division]) -> selection.Results:
        results = {}
        for kept, result in plain(candidates, divisions).items():
            value = 1.0 if LIKED[liked](kept) else 0.5
            table = result.per_query.with_columns(pl.lit(value).alias("map@r"))
            results[kept] = replace(result, metrics={**result.metrics, "map@r": value}, per_query=table)
        return results

    monkeypatch.setattr(selection, "_scored", scored)
    outcome = train_tiny(
        tmp_path,
        "recipe.wise_ft_alphas=[0.25]",
        "model.head=whitened",
        "model.dimensions=null",
        "recipe.refit_whitening=true",
    )
    assert outcome is not None and outcome.selection is not None
    run, chosen = RunDirectory(tmp_path), outcome.selection
    assert chosen.pooled_reference == (liked == "pooled") and chosen.whitening_refitted == (liked == "refitted")
    assert outcome.validation["model"].facts["epoch"] == chosen.chosen_epoch
    embedder = conspecific.load(run.path)
    if not chosen.is_trained:
        assert liked in ("pooled", "strength", "head fitted")
        assert chosen.whitening_strength == (1.0 if liked == "strength" else None)
        [gain] = [each for each in outcome.gains["pooled"] if each.metric == "map@r"]
        assert (gain.won, gain.lost, gain.interval.mean) == (0, 0, 0) or liked != "pooled"
    if liked == "pooled":
        assert outcome.test["model"].metrics == outcome.test["pooled"].metrics
        assert embedder.embed([Image.new("RGB", (64, 48))]).shape == (1, embedder.backbone.channels)
        return
    share = chosen.wise_ft_alpha if chosen.is_trained else 0.0
    epoch = chosen.chosen_epoch or outcome.epochs[-1].epoch
    start, kept = load_file(run.start), load_file(run.weights)
    checkpoints = [read_checkpoint(run.checkpoints / f"{name}.ckpt") for name in ("last", "best")]
    end = next(each["state_dict"] for each in checkpoints if each["epoch"] + 1 == epoch)
    for name in (name for name, tensor in kept.items() if tensor.is_floating_point()):
        wanted = (1 - share) * start[name] + share * end[f"embedder.{name}"]
        if liked not in ("refitted", "strength") or not name.startswith("head"):
            torch.testing.assert_close(kept[name], wanted)
        else:
            assert not torch.allclose(kept[name], wanted)
    assert not torch.equal(start["head.weight"], end["embedder.head.weight"])
