"""Folds: several validation parts choose what is kept, which is then trained on all of their images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import conspecific
from conspecific.config.recipe import RecipeConfig
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, split
from conspecific.errors import ConfigError, RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_splits, trained_images
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.folds import everything, folds_of, trains_again

TrainTiny = Callable[..., object]


def divided(
    make_manifest: Callable[..., Manifest], protocol: str, species: int, images: int
) -> tuple[Splits, np.ndarray]:
    manifest = make_manifest([f"species {number:03}" for number in range(species) for _ in range(images)])
    return split(manifest, protocol), manifest.labels


def test_unseen_folds_hold_out_whole_species(
    make_manifest: Callable[..., Manifest],
) -> None:
    splits, labels = divided(make_manifest, "unseen", 37, 10)
    folds = folds_of(splits, labels, None)
    assert len(folds) == 4, "18 species, four of them in each validation part"
    assert folds[0].train.tolist() == splits.train.tolist() and folds[0].val.query.tolist() == splits.val.query.tolist()
    held_out = [set(labels[fold.val.query].tolist()) for fold in folds]
    assert sum(map(len, held_out)) == len(set.union(*held_out)) == 16
    for fold, species in zip(folds, held_out, strict=True):
        assert not species & set(labels[fold.train].tolist())
        assert np.array_equal(fold.val.gallery, fold.val.query)
        assert np.array_equal(np.union1d(fold.train, fold.val.query), everything(splits))
        assert not np.isin(fold.val.query, splits.test.ids).any()
    few, labels = divided(make_manifest, "unseen", 10, 4)
    assert [len(np.unique(labels[fold.val.query])) for fold in folds_of(few, labels, None)] == [2, 2], "of five species"


def test_seen_folds_hold_out_other_images_of_each_species(make_manifest: Callable[..., Manifest]) -> None:
    splits, labels = divided(make_manifest, "seen", 10, 20)
    folds = folds_of(splits, labels, None)
    assert len(folds) == 5, "20 queries in each: as many folds as there may be"
    queries = np.concatenate([fold.val.query for fold in folds])
    assert len(np.unique(queries)) == len(queries) == 100
    for fold in folds:
        assert np.bincount(labels[fold.val.query]).tolist() == [2] * 10
        assert np.array_equal(fold.val.query, fold.val.gallery)
    few, labels = divided(make_manifest, "seen", 10, 10)
    assert len(folds_of(few, labels, None)) == 2, "of the three training images of a species, two are held out once"


def test_query_gallery_folds_search_in_the_training_images(make_manifest: Callable[..., Manifest]) -> None:
    splits, labels = divided(make_manifest, "query_gallery", 10, 13)
    folds = folds_of(splits, labels, 3)
    assert len(folds) == 3
    for fold in folds:
        assert np.array_equal(fold.val.gallery, fold.train) and not np.isin(fold.val.query, fold.train).any()


@pytest.mark.parametrize("protocol", ["seen", "unseen"])
def test_a_group_is_on_one_side_of_a_fold(make_manifest: Callable[..., Manifest], protocol: str) -> None:
    labels = [f"species {number:03}" for number in range(12) for _ in range(12)]
    manifest = make_manifest(labels)
    bursts = [f"{label} {place % 12 // 2}" for place, label in enumerate(labels)]
    manifest = Manifest.from_table(manifest.root, manifest.table.with_columns(group=pl.Series(bursts)))
    splits = split(manifest, protocol)
    folds = folds_of(splits, manifest.labels, 3, manifest.groups)
    assert len(folds) >= 2
    for fold in folds:
        assert not set(manifest.groups[fold.train]) & set(manifest.groups[fold.val.query])
        assert len(fold.train) + len(fold.val.query) >= 0.8 * len(everything(splits))


def test_many_images_have_one_validation_part_and_are_trained_once(make_manifest: Callable[..., Manifest]) -> None:
    splits, labels = divided(make_manifest, "seen", 50, 40)
    assert len(everything(splits)) == 1000
    assert len(folds_of(splits, labels, None)) == 1 and not trains_again(splits, None) and trains_again(splits, 2)
    assert len(folds_of(splits, labels, 3)) == 3
    few, _ = divided(make_manifest, "seen", 49, 40)
    assert trains_again(few, None) and not trains_again(few, 0)


def test_a_run_is_chosen_by_folds_and_then_trained_on_all_their_images(
    tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = FineTuner.training_step

    def step(module: FineTuner, batch: dict[str, torch.Tensor], place: int) -> torch.Tensor:
        if module.current_epoch == 0 and place == 0:
            seen.append(0)
        seen[-1] += 1
        return plain(module, batch, place)

    monkeypatch.setattr(FineTuner, "training_step", step)
    # a head that is not fitted is never as good as what training makes of it, so that training on all images is reached
    record = train_tiny(tmp_path / "run", "recipe.folds=2", "trainer.max_epochs=2", "data.images=12")
    run = RunDirectory(tmp_path / "run")
    splits = read_splits(run)
    validated = record.validation["model"].per_query
    assert record.selection.folds == 2 and "(chosen by 2 folds" in str(record.selection)
    assert validated.height == 2 * splits["val_query"].sum() and validated["id"].n_unique() == validated.height
    assert len(seen) == (3 if record.selection.is_trained else 2)
    assert trained_images(run).height == splits["train"].sum() + splits["val_query"].sum()
    assert len(record.epochs) == 2, "the epochs are those of the first division"
    again = train_tiny(tmp_path / "again", "recipe.folds=2", "trainer.max_epochs=2", "data.images=12")
    assert run.weights.read_bytes() == RunDirectory(tmp_path / "again").weights.read_bytes()
    assert again.test["model"].metrics == record.test["model"].metrics
    with pytest.raises(RunError, match=r"recipe\.folds=0"):
        conspecific.runs.soup._validated([run, run], record.config)


def test_folds_are_0_or_more() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.folds must be 0 or more, or null; found -1"):
        RecipeConfig(folds=-1)
