"""Pictures as tensors, for training and for evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from conspecific.data.images import open_rgb
from conspecific.data.manifest import Manifest


class Item(TypedDict):
    """One picture, or a batch of them: image uint8 [3, H, W], label int64, index (the sample id) int64."""

    image: Tensor
    label: Tensor
    index: Tensor


class View(NamedTuple):
    """A sample id and the seed of the augmented view to make of it."""

    sample_id: int
    seed: int


class EvaluationPictures(Dataset[Item]):
    """The pictures of some sample ids as the network shall see them: shorter side resized, centre cut out."""

    def __init__(self, manifest: Manifest, ids: Sequence[int] | np.ndarray, size: int) -> None:
        self.manifest, self.ids, self.size = manifest, np.asarray(ids, dtype=np.int64), size

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Item:
        index = int(self.ids[place])
        image = centre_square(open_rgb(self.manifest.path(index), self.size), self.size)
        return _item(image, self.manifest, index)


class TrainingPictures(Dataset[Item]):
    """Augmented views: RandomResizedCrop, horizontal flip, light colour jitter.

    A view is a function of its sample id and its seed alone, so a resumed run sees what an uninterrupted one would.
    """

    def __init__(self, manifest: Manifest, size: int, crop_scale: tuple[float, float], jitter: float) -> None:
        self.manifest, self.size = manifest, size
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=crop_scale, interpolation=v2.InterpolationMode.BICUBIC),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(jitter, jitter, jitter),
            ]
        )

    def __getitem__(self, view: View) -> Item:
        image = open_rgb(self.manifest.path(view.sample_id), self.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(view.seed)
            augmented: Image.Image = self.augment(image)
        return _item(augmented, self.manifest, view.sample_id)


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and cut the centre square out."""
    scale = size / min(image.size)
    width, height = max(size, round(image.width * scale)), max(size, round(image.height * scale))
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB picture as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def picture_tensor(path: Path, size: int) -> Tensor:
    """Read one picture from anywhere as evaluation reads it: uint8 [3, size, size]."""
    return to_tensor(centre_square(open_rgb(path, size), size))


def _item(image: Image.Image, manifest: Manifest, index: int) -> Item:
    return {
        "image": to_tensor(image),
        "label": torch.tensor(manifest.labels[index]),
        "index": torch.tensor(index),
    }
