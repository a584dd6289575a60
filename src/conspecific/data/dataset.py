"""Images as tensors, for training and for evaluation."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from conspecific.data.manifest import Manifest
from conspecific.images import center_crop, to_tensor
from conspecific.types import IntArray


class Item(TypedDict):
    """One image, or a batch of them.

    image: uint8 [3, H, W]. label: int64, the species number. index: int64, the sample id.
    activations: float16 [...], the output of a backbone's frozen stages, in place of the image.
    """

    image: NotRequired[Tensor]
    activations: NotRequired[Tensor]
    label: Tensor
    index: Tensor


class AugmentedView(NamedTuple):
    """One augmentation of an image: its sample id, the seed of the augmentation, and the side of the crop in pixels."""

    sample_id: int
    seed: int
    size: int


class EvaluationImages(Dataset[Item]):
    """Images as they are evaluated: the shorter side resized to `size` pixels, then the centre square.

    mirrored: whether they are mirrored left to right.
    """

    def __init__(self, manifest: Manifest, ids: Sequence[int] | np.ndarray, size: int, mirrored: bool = False) -> None:
        self.manifest, self.ids, self.size = manifest, np.asarray(ids, dtype=np.int64), size
        self.mirrored = mirrored

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Item:
        index = int(self.ids[place])
        image = center_crop(self.manifest.open_rgb(index, self.size), self.size)
        image = ImageOps.mirror(image) if self.mirrored else image
        return _item(image, self.manifest, index)

    def sample(self, count: int = 16) -> Tensor:
        """Return up to `count` of the images, evenly spaced, uint8 [B, 3, size, size]."""
        return torch.stack([self[int(place)]["image"] for place in evenly_spaced(len(self), count)])


def evenly_spaced(count: int, most: int) -> IntArray:
    """Return at most so many of the places 0 to `count` - 1, ascending, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


class TrainingImages(Dataset[Item]):
    """Images as they are trained on: RandomResizedCrop, horizontal flip and colour jitter.

    An augmentation depends on its sample id, seed and size only, so a resumed run draws the same ones.

    crop_scale: range of the crop's share of the image area. jitter: strength of brightness, contrast and saturation.
    """

    def __init__(self, manifest: Manifest, crop_scale: tuple[float, float], jitter: float) -> None:
        self.manifest, self.crop_scale, self.jitter = manifest, crop_scale, jitter

    def __getitem__(self, view: AugmentedView) -> Item:
        [augmented] = self.augmented(view.sample_id, [view.seed], view.size)
        return _item(augmented, self.manifest, view.sample_id)

    def augmented(self, sample_id: int, seeds: Sequence[int], size: int) -> list[Image.Image]:
        """Return several augmentations of one image, which is decoded once: [size, size] RGB, one for each seed."""
        image = self.manifest.open_rgb(sample_id, size)
        augment, found = _augmentation(size, self.crop_scale, self.jitter), []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                found.append(augment(image))
        return found


@cache
def _augmentation(size: int, crop_scale: tuple[float, float], jitter: float) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=crop_scale, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(jitter, jitter, jitter),
        ]
    )


def _item(image: Image.Image, manifest: Manifest, index: int) -> Item:
    return {
        "image": to_tensor(image),
        "label": torch.tensor(manifest.labels[index]),
        "index": torch.tensor(index),
    }
