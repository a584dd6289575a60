"""Training batches, and the side of their crops."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conspecific.config.schema import LoaderConfig, RecipeConfig
from conspecific.data.cached_augmentations import CachedAugmentations
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.training.training_data import TrainingData


@pytest.fixture
def images(make_folder: Callable[..., Path]) -> TrainingData:
    manifest = from_folder(str(make_folder({"robin": 8, "wren": 8})))
    loader = LoaderConfig(train_size=64, classes_per_batch=2, samples_per_class=2, workers=0)
    return TrainingData(manifest, split(manifest, "seen"), loader, RecipeConfig(initial_size=32), epochs=4, seed=0)


def test_the_images_of_a_batch_have_the_side_of_their_epoch(images: TrainingData) -> None:
    shown = []
    for epoch in range(4):
        images.batches.set_epoch(epoch)
        shown.append({tuple(batch["image"].shape) for batch in images.train_dataloader()})
    assert shown == [{(4, 3, 32, 32)}, {(4, 3, 32, 32)}, {(4, 3, 32, 32)}, {(4, 3, 64, 64)}]


def test_cached_views_take_the_place_of_images(images: TrainingData) -> None:
    ids = np.concatenate(images.batches.groups)
    views = {side: np.ones((2 * len(ids), 3), np.float16) for side in (32, 64)}
    images.cached = CachedAugmentations(images.train_images.manifest, ids, 2, views)
    images.loader.workers = 2
    loader = images.train_dataloader()
    assert loader.num_workers == 0
    batch = next(iter(loader))
    assert batch["activations"].shape == (4, 3)
    assert "image" not in batch
