"""Training batches, and the side of their crops."""

from collections import Counter
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conspecific.config.schema import LoaderConfig, RecipeConfig
from conspecific.data.cached_augmentations import CachedAugmentations
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.data.splits import Splits, Subset, split
from conspecific.training.training_data import TrainingData

ROWS = 100_000


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


def test_images_are_drawn_one_by_one_where_that_is_asked_for(make_folder: Callable[..., Path]) -> None:
    manifest = from_folder(str(make_folder({"robin": 16, "wren": 4})))
    splits = Splits("seen", np.arange(20), Subset(np.arange(0), np.arange(0)), Subset(np.arange(0), np.arange(0)))
    drawn = {}
    for sampling in ("pk", "instance_balanced", "class_balanced"):
        loader = LoaderConfig(sampling=sampling, classes_per_batch=2, samples_per_class=2, workers=0)
        batches = TrainingData(manifest, splits, loader, RecipeConfig(), epochs=1, seed=0).batches
        labels = Counter(int(manifest.labels[view.sample_id]) for batch in batches for view in batch)
        drawn[sampling] = labels[0], labels[1]
    assert drawn == {"pk": (10, 10), "instance_balanced": (16, 4), "class_balanced": (10, 10)}


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


def private_megabytes(process: int) -> float:
    """What a process shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1000


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="Linux says what processes share")
def test_workers_copy_no_page_of_a_large_manifest(
    make_manifest: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python objects, the rows of the table would be copied as they are read, because reading counts references."""
    monkeypatch.setattr("conspecific.data.manifest.open_rgb", lambda *_: Image.new("RGB", (32, 32)))
    monkeypatch.setattr("conspecific.data.dataset._augmentation", lambda *_: lambda image: image)
    manifest = make_manifest([f"species {number // 20:05}" for number in range(ROWS)])
    nothing = Subset(np.arange(0), np.arange(0))
    loader = LoaderConfig(train_size=32, classes_per_batch=100, samples_per_class=2, workers=2)
    splits = Splits("seen", np.arange(ROWS), nothing, nothing)
    batches = iter(TrainingData(manifest, splits, loader, RecipeConfig(), epochs=1, seed=0).train_dataloader())
    private = []
    for count in (10, 30):
        for _ in range(count):
            next(batches)
        private.append(sum(private_megabytes(process.pid) for process in active_children() if process.pid))
    assert private[1] - private[0] < 5, private
