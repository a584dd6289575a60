"""Training images of which the frozen stages' activations are kept."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from conspecific.data.cached_augmentations import CachedAugmentations, cached_seed
from conspecific.data.dataset import AugmentedView
from conspecific.data.manifest import Manifest
from conspecific.data.sampler import PKSampler

IDS = np.array([4, 1, 3])


@pytest.fixture
def birds(make_manifest: Callable[..., Manifest]) -> Manifest:
    return make_manifest(["robin", "robin", "wren", "wren", "tit"])


@pytest.fixture
def kept(birds: Manifest) -> CachedAugmentations:
    """Two views of each image at 32 px and at 64 px; each value says which: side, view and row."""
    marks = {side: np.float16(side + 10 * np.arange(2) + np.arange(3)[:, None]).reshape(-1) for side in (32, 64)}
    return CachedAugmentations(
        birds, IDS, 2, {side: np.repeat(mark[:, None], 5, axis=1) for side, mark in marks.items()}
    )


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize(("row", "sample_id"), list(enumerate(IDS)))
def test_a_view_is_of_its_image_and_size_and_its_seed_picks_one(
    kept: CachedAugmentations, side: int, row: int, sample_id: int
) -> None:
    for seed in (0, 1, 6, 7):
        item = kept[AugmentedView(int(sample_id), seed, side)]
        assert item["activations"].tolist() == [side + 10 * (seed % 2) + row] * 5
        assert item["activations"].dtype == torch.float16
        assert item["index"].item() == sample_id
        assert item["label"].item() == kept.manifest.labels[sample_id]
        assert "image" not in item


def test_batches_of_the_sampler_are_collated(kept: CachedAugmentations) -> None:
    batches = PKSampler(IDS, kept.manifest.labels[IDS], species=2, images=2, seed=0, sizes=[64])
    batch = next(iter(DataLoader(kept, batch_sampler=batches)))
    assert batch["activations"].shape == (4, 5)
    assert {int(index) for index in batch["index"]} <= set(IDS.tolist())


def test_a_batch_may_be_changed_without_changing_what_is_kept(kept: CachedAugmentations) -> None:
    kept[AugmentedView(4, 0, 32)]["activations"].zero_()
    assert kept[AugmentedView(4, 0, 32)]["activations"].tolist() == [32.0] * 5


def test_every_view_of_every_image_has_a_seed_of_its_own() -> None:
    seeds = [cached_seed(f"{image:032x}", view) for view in range(8) for image in range(1000)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert cached_seed("ab", 1) == cached_seed("ab", 1)
