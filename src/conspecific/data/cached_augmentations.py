"""Cached augmentations: activations of the frozen stages for a number of augmentations of each training image."""

import hashlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conspecific.data.dataset import AugmentedView, Item
from conspecific.data.manifest import Manifest
from conspecific.types import IntArray


class Rows(Protocol):
    """Activations, [R, ...]; reading places gives a copy."""

    def __getitem__(self, places: IntArray) -> NDArray[np.float16]: ...


class CachedAugmentations(Dataset[Item]):
    """Replaces `TrainingImages` when augmentations are cached; the seed of an augmentation chooses a cached one.

    ids: [N] sample ids. views: V, the number of augmentations of each image. values: side of the crop in pixels ->
        float16 [N * V, ...], those of one image after another.
    """

    def __init__(self, manifest: Manifest, ids: IntArray, views: int, values: Mapping[int, Rows]) -> None:
        self.manifest, self.views, self.values = manifest, views, values
        self.row = {int(index): row for row, index in enumerate(ids)}

    def __getitem__(self, view: AugmentedView) -> Item:
        place = self.row[view.sample_id] * self.views + view.seed % self.views
        [kept] = self.values[view.size][np.array([place])]
        return {
            "activations": torch.from_numpy(kept),
            "label": torch.tensor(self.manifest.labels[view.sample_id]),
            "index": torch.tensor(view.sample_id),
        }


def cached_seed(content: str, view: int) -> int:
    """Return the seed of a cached augmentation, a different one for each image, known by its content, and view."""
    digest = hashlib.blake2b(f"{content}-{view}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
