"""Cached augmentations: activations of the frozen stages for a number of augmentations of each training image."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conspecific.data.dataset import AugmentedView, Item
from conspecific.data.manifest import Manifest
from conspecific.types import IntArray


class CachedAugmentations(Dataset[Item]):
    """Replaces `TrainingImages` when augmentations are cached; the seed of an augmentation chooses a cached one.

    values: side of the crop in pixels -> float16 [V, N, ...], in memory or memory-mapped, for V augmentations of each
        of N images. ids: [N] sample ids.
    """

    def __init__(self, manifest: Manifest, ids: IntArray, values: Mapping[int, NDArray[np.float16]]) -> None:
        self.manifest, self.values = manifest, values
        self.row = {int(index): row for row, index in enumerate(ids)}

    def __getitem__(self, view: AugmentedView) -> Item:
        values = self.values[view.size]
        kept = values[view.seed % len(values), self.row[view.sample_id]]
        return {
            "activations": torch.from_numpy(np.array(kept)),
            "label": torch.tensor(self.manifest.labels[view.sample_id]),
            "index": torch.tensor(view.sample_id),
        }


def cached_seed(seed: int, view: int, sample_id: int) -> int:
    """Return the seed of a cached augmentation, a different one for each run's seed, augmentation and image."""
    return int(np.random.SeedSequence((seed, view, sample_id)).generate_state(1)[0] >> 1)
