"""Activations of augmented views, computed once."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from conspecific.config.schema import LoaderConfig, PathsConfig, RecipeConfig, TrainConfig
from conspecific.data.cached_augmentations import CachedAugmentations, cached_seed
from conspecific.data.dataset import AugmentedView
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.encoding import KeptActivations
from conspecific.evaluation import Evaluator
from conspecific.evaluation.embed import HALF
from conspecific.models import Backbone, FrozenStages
from conspecific.training.recipe import cached_augmentations as module
from conspecific.training.recipe.cached_augmentations import cache_augmentations
from conspecific.training.training_data import TrainingData

LOADER = LoaderConfig(train_size=64, workers=0, classes_per_batch=2, samples_per_class=2)


class World:
    """Three views each of a few images at 32 and at 64 px, through ResNet-18 up to its last stage."""

    def __init__(self, folder: Path, cache: Path) -> None:
        manifest = from_folder(str(folder))
        self.text = io.StringIO()
        console = Console(file=self.text, width=200)
        splits, cpu = split(manifest, "seen"), torch.device("cpu")
        self.cache, self.evaluator = cache, Evaluator(manifest, splits, "unread", 64, 0, cpu, console)
        torch.manual_seed(0)
        self.backbone = Backbone("resnet18", "none")
        self.backbone.freeze(1, True)

    def images(self, seed: int = 0) -> TrainingData:
        recipe = RecipeConfig(initial_size=32)
        return TrainingData(self.evaluator.manifest, self.evaluator.splits, LOADER, recipe, epochs=4, seed=seed)

    def views(self, seed: int = 0, views: int = 3) -> CachedAugmentations | None:
        paths = PathsConfig(cache=str(self.cache))
        config = TrainConfig(seed=seed, recipe=RecipeConfig(cached_augmentations=views), loader=LOADER, paths=paths)
        return cache_augmentations(self.backbone, self.images(seed), self.evaluator, config)


@pytest.fixture
def world(make_folder: Callable[..., Path], tmp_path: Path) -> World:
    return World(make_folder({"robin": 8, "wren": 8}, size=(80, 70)), tmp_path / "cache")


def test_what_is_kept_is_what_the_frozen_stages_make_of_the_views(world: World) -> None:
    kept = world.views()
    assert kept is not None
    ids = world.evaluator.splits.train
    assert {side: values.shape for side, values in kept.values.items()} == {
        32: (3 * len(ids), 256, 2, 2),
        64: (3 * len(ids), 256, 4, 4),
    }
    for side, values in kept.values.items():
        rows = values[:].reshape(len(ids), 3, *values.shape[1:])
        assert rows.dtype == np.float16
        for row, index in enumerate(ids):
            for view in range(3):
                seed = cached_seed(str(index), view)
                image = world.images().train_images[AugmentedView(int(index), seed, side)]
                with torch.inference_mode():
                    anew = world.backbone.activations(image["image"][None])[0].numpy()
                # bfloat16, which is used where the processor has it, keeps eight digits of a number
                assert np.abs(rows[row, view] - anew).mean() < 0.01 * np.abs(anew).mean()
        assert len({row.tobytes() for row in values[:]}) == 3 * len(ids), "all views are different"


def test_views_are_found_again_whatever_the_seed_and_the_order_of_the_images(world: World) -> None:
    contents = [f"{index:032x}" for index in range(len(world.evaluator.manifest))]
    world.evaluator = replace(world.evaluator, kept=KeptActivations(world.cache), contents=contents)
    first = world.views(seed=5, views=2)
    train = world.evaluator.splits.train[::-1].copy()
    splits = replace(world.evaluator.splits, train=train)
    world.evaluator = replace(world.evaluator, kept=KeptActivations(world.cache), splits=splits)
    again = world.views(seed=6, views=2)
    assert first is not None and again is not None
    assert "Cached augmentations at 64 px: 8 views, kept from an earlier run." in world.text.getvalue()
    for side, values in first.values.items():
        expected = values[:].reshape(len(train), 2, -1)[::-1]
        np.testing.assert_array_equal(again.values[side][:].reshape(len(train), 2, -1), expected)
    more = world.views(views=3)
    assert more is not None and "Caching augmentations at 64 px: 4 views of 4 training images" in world.text.getvalue()
    np.testing.assert_array_equal(more.values[64][:][0::3], again.values[64][:][0::2])


def test_a_network_that_is_trained_whole_gets_new_views_and_says_so(world: World) -> None:
    world.backbone.freeze(None, True)
    assert world.views() is None
    assert "New views are made each epoch: no early stage is frozen" in world.text.getvalue()


def test_no_more_is_kept_than_half_of_the_free_disk_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a_view = 2 * len(world.evaluator.splits.train) * 256 * (2 * 2 + 4 * 4)
    monkeypatch.setattr("conspecific.encoding.kept.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * (2 * a_view + 1)))
    kept = world.views(views=8)
    assert kept is not None and kept.views == 2
    assert "2 views of each training image are cached: 8 would take too much." in world.text.getvalue()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * a_view))
    assert world.views(views=8) is None
    assert "New views are made each epoch: one view of each image would take" in world.text.getvalue()


def test_the_time_is_said_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_seconds", lambda *_: 250.0)
    world.views()
    assert "Caching augmentations at 64 px: 12 views of 4 training images, about 4 min." in world.text.getvalue()


def test_measuring_takes_time_and_no_random_numbers(world: World) -> None:
    state = torch.get_rng_state()
    images = world.images()
    wanted = [module.View(int(index), str(index), 0) for index in world.evaluator.splits.train]
    views = module.Views(images.train_images, wanted, 64)
    encoder = module._encoder(FrozenStages(world.backbone), views, world.evaluator)
    alone, beside = (module._seconds(encoder, views, workers) for workers in (0, 2))
    assert 0 < beside < 10 and 0 < alone < 10
    assert torch.equal(torch.get_rng_state(), state)


def test_no_more_views_are_kept_than_training_draws(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four epochs draw each image four times; kept are two crops' sizes of each view."""
    monkeypatch.setattr(module, "ALWAYS", 0)
    kept = world.views(views=8)
    assert kept is not None
    assert kept.views == 2 and {len(values) for values in kept.values.values()} == {2 * 4}


def test_numbers_beyond_half_precision_are_cut_off_and_not_infinite(world: World) -> None:
    stem = world.backbone.net.bn1
    with torch.no_grad():
        stem.weight.fill_(1e7)
    kept = world.views(views=2)
    assert kept is not None
    assert all(np.isfinite(values[:]).all() for values in kept.values.values())
    assert max(float(values[:].max()) for values in kept.values.values()) == HALF
