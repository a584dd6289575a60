"""Training batches, and the side of their crops."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.config.schema import LoaderConfig, RecipeConfig
from conspecific.data.cached_augmentations import CachedAugmentations
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.errors import ConfigError
from conspecific.training.training_data import TrainingData, growing_sizes


@given(st.integers(32, 300), st.integers(0, 300), st.integers(1, 40))
def test_crops_grow_step_by_step_and_end_at_their_full_side(first: int, more: int, epochs: int) -> None:
    sizes = np.array(growing_sizes(first, first + more, epochs))
    assert len(sizes) == epochs
    assert sizes[-1] == first + more, "however few epochs: evaluation is larger still"
    assert (np.diff(sizes) >= 0).all()
    assert ((sizes[:-1] - first) % 32 == 0)[sizes[:-1] < first + more].all()
    if epochs > 1:
        assert sizes[0] == first
    if epochs >= 4 and more:
        assert (sizes == first + more).mean() == pytest.approx(0.25, abs=1 / epochs)


@pytest.mark.parametrize(
    ("first", "last", "epochs", "sizes"),
    [
        (96, 160, 8, [96, 96, 96, 128, 128, 128, 160, 160]),
        (96, 100, 4, [96, 96, 96, 100]),
        (96, 160, 2, [96, 160]),
        (96, 160, 1, [160]),
        (160, 160, 3, [160, 160, 160]),
    ],
)
def test_sizes_by_hand(first: int, last: int, epochs: int, sizes: list[int]) -> None:
    assert list(growing_sizes(first, last, epochs)) == sizes


def test_crops_that_would_shrink_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.initial_size=192 is above loader\.train_size=160: crops grow"):
        growing_sizes(192, 160, 4)


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
    views = {side: np.ones((2, len(ids), 3), np.float16) for side in (32, 64)}
    images.cached = CachedAugmentations(images.train_images.manifest, ids, views)
    images.loader.workers = 2
    loader = images.train_dataloader()
    assert loader.num_workers == 0
    batch = next(iter(loader))
    assert batch["activations"].shape == (4, 3)
    assert "image" not in batch
