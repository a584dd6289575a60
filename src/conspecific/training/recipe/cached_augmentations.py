"""Cached augmentations: the frozen stages' activations of augmented training images, computed once."""

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from conspecific.config.schema import TrainConfig
from conspecific.data.cached_augmentations import CachedAugmentations, cached_seed
from conspecific.data.dataset import TrainingImages
from conspecific.encoding import Encoder, torch_encoder
from conspecific.evaluation import Evaluator
from conspecific.files import unnamed_file, usable_bytes
from conspecific.images import to_tensor
from conspecific.models import Backbone, FrozenStages
from conspecific.progress import progress_bar
from conspecific.training.training_data import TrainingData
from conspecific.types import IntArray

BATCH, SAMPLE = 64, 16  # views
ALWAYS = 100_000  # views of all images that take minutes at most, and are computed whatever training takes
HALF = torch.finfo(torch.float16).max  # single activations of some networks are larger


def cache_augmentations(
    backbone: Backbone, images: TrainingData, evaluator: Evaluator, config: TrainConfig
) -> CachedAugmentations | None:
    """Return the activations of `recipe.cached_augmentations` views of each training image, at each size of crops.

    They are memory-mapped files without a name in the cache folder, which the operating system removes when the process
    ends. There are fewer views where they would take more than half of the free disk, or more than ALWAYS views were
    more than all epochs draw, so that new views in each epoch would take less time. Prints how much space and about how
    much time they take. Returns None, and prints why, where no stage is frozen, the backbone cannot be cut, or there
    would be fewer than two views of each image.
    """
    ids, folder = evaluator.splits.train, Path(config.paths.cache).expanduser()
    sizes = sorted(set(images.sizes))
    if not backbone.is_split:
        _say(evaluator, "New views are made each epoch: no early stage is frozen, or the backbone cannot be cut there.")
        return None
    bytes_a_view = 2 * len(ids) * sum(backbone.activation_size(size) for size in sizes)  # in half precision
    folder.mkdir(parents=True, exist_ok=True)
    asked, each = config.recipe.cached_augmentations, len(ids) * len(sizes)
    drawn = len(images.sizes) * len(images.batches) * images.batches.species * images.batches.images
    views = min(asked, usable_bytes(folder) // bytes_a_view, max(ALWAYS, drawn) // each)
    if views < 2:
        taken = f"{bytes_a_view / 1e9:.1f} GB, and all epochs together draw {drawn / each:.1f}"
        _say(evaluator, f"New views are made each epoch: one view of each image would take {taken}.")
        return None
    of_sizes = [AllViews(images.train_images, ids, views, config.seed, size) for size in sizes]
    with evaluator.phases.measure("encoding"):
        encoders = [_encoder(backbone, of_size, evaluator) for of_size in of_sizes]
        seconds = sum(map(_seconds, encoders, of_sizes, [evaluator.workers] * len(sizes)))
        taken = f"{views * bytes_a_view / 1e9:.1f} GB in {folder}, about {_duration(seconds)}"
        fewer = "" if views == asked else f" ({asked} would take too much)"
        _say(evaluator, f"Caching {views} views of each training image{fewer}: {taken}.")
        values = {
            of_size.size: _encode(encoder, of_size, evaluator, folder)
            for encoder, of_size in zip(encoders, of_sizes, strict=True)
        }
    return CachedAugmentations(evaluator.manifest, ids, values)


class AllViews(Dataset[Tensor]):
    """All views of each training image at one size: item -> uint8 [V, 3, size, size], decoded once."""

    def __init__(self, images: TrainingImages, ids: IntArray, views: int, seed: int, size: int) -> None:
        self.images, self.ids, self.views, self.seed, self.size = images, ids, views, seed, size

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Tensor:
        sample_id = int(self.ids[place])
        seeds = [cached_seed(self.seed, view, sample_id) for view in range(self.views)]
        return torch.stack([to_tensor(image) for image in self.images.augmented(sample_id, seeds, self.size)])

    def sample(self) -> Tensor:
        """Return the views of the first few images, uint8 [B, 3, size, size]."""
        return torch.cat([self[place] for place in range(min(len(self), -(-SAMPLE // self.views)))])


def _encoder(backbone: Backbone, views: AllViews, evaluator: Evaluator) -> Encoder:
    """Return the encoder of the frozen stages for views of this size."""
    network, images = FrozenStages(backbone), len(views) * views.views
    found = evaluator.encoders.open(network.eval().to(evaluator.device), views.sample, images, reduced=True)
    if found.backend == "torch" and evaluator.encoders.precision == "auto" and _has_bf16(evaluator.device):
        return torch_encoder(network, evaluator.device, "bfloat16")
    return found


def _seconds(encoder: Encoder, views: AllViews, workers: int) -> float:
    """Measure how long all views take; decoding in worker processes goes on beside the network."""
    began = time.perf_counter()
    sample = views.sample()
    decoded = time.perf_counter()
    encoder(sample)
    decoding, encoding = decoded - began, time.perf_counter() - decoded
    both = max(decoding / workers, encoding) if workers else decoding + encoding
    return both * len(views) * views.views / len(sample)


def _duration(seconds: float) -> str:
    """Return a duration for people.

    >>> _duration(7.4), _duration(150)
    ('7 s', '2 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _say(evaluator: Evaluator, text: str) -> None:
    evaluator.console.print(text, soft_wrap=True, highlight=False, markup=False)


def _encode(encoder: Encoder, views: AllViews, evaluator: Evaluator, folder: Path) -> NDArray[np.float16]:
    """Return the activations of the frozen stages for all views, [V, N, ...]."""
    loader: DataLoader[Tensor] = DataLoader(
        views, batch_size=max(1, BATCH // views.views), num_workers=evaluator.workers
    )
    done, found = 0, None
    with progress_bar(evaluator.console) as progress:
        task = progress.add_task(f"Caching augmentations at {views.size} px", total=len(views) * views.views)
        for batch in loader:
            block = encoder(batch.flatten(0, 1)).clamp(-HALF, HALF).half().cpu().numpy()
            block = block.reshape(len(batch), views.views, *block.shape[1:]).swapaxes(0, 1)
            if found is None:
                found = unnamed_file(folder, (views.views, len(views), *block.shape[2:]), np.float16)
            found[:, done : done + len(batch)] = block
            done += len(batch)
            progress.update(task, completed=done * views.views)
    assert found is not None, "there are training images"
    return found


def _has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; half precision keeps all of its digits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported: bool = torch.cpu._is_avx512_bf16_supported()
    return device.type == "cpu" and supported
