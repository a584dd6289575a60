"""Cached augmentations: the frozen stages' activations of augmented training images, computed once."""

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from conspecific.config.schema import TrainConfig
from conspecific.data.cached_augmentations import CachedAugmentations, cached_seed
from conspecific.data.dataset import AugmentedView, Item, TrainingImages
from conspecific.evaluation import Evaluator
from conspecific.files import unnamed_file, usable_bytes
from conspecific.models import Backbone
from conspecific.progress import progress_bar
from conspecific.training.training_data import TrainingData

BATCH = 64
MEASURED = 16  # views whose time is taken before all are computed
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
    taken = f"{views * bytes_a_view / 1e9:.1f} GB in {folder}"
    seconds = views * sum(len(ids) * _seconds_a_view(backbone, images, evaluator, size) for size in sizes)
    fewer = "" if views == asked else f" ({asked} would take too much)"
    _say(evaluator, f"Caching {views} views of each training image{fewer}: {taken}, about {_duration(seconds)}.")
    values = {}
    for size in sizes:
        wanted = [
            AugmentedView(int(index), cached_seed(config.seed, view, int(index)), size)
            for view in range(views)
            for index in ids
        ]
        found = _encode(backbone, images.train_images, wanted, evaluator, folder)
        values[size] = found.reshape(views, len(ids), *found.shape[1:])
    return CachedAugmentations(evaluator.manifest, ids, values)


def _seconds_a_view(backbone: Backbone, images: TrainingData, evaluator: Evaluator, size: int) -> float:
    """Measure how long a view of an image takes; decoding in worker processes goes on beside the network."""
    ids = evaluator.splits.train[:MEASURED]
    began = time.perf_counter()
    read = [images.train_images[AugmentedView(int(index), 0, size)]["image"] for index in ids]
    decoded = time.perf_counter()
    backbone.to(evaluator.device)
    with torch.inference_mode():
        _activations(backbone, torch.stack(read), evaluator.device)
    decoding, encoding = decoded - began, time.perf_counter() - decoded
    return (max(decoding / evaluator.workers, encoding) if evaluator.workers else decoding + encoding) / len(ids)


def _duration(seconds: float) -> str:
    """Return a duration for people.

    >>> _duration(7.4), _duration(150)
    ('7 s', '2 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _say(evaluator: Evaluator, text: str) -> None:
    evaluator.console.print(text, soft_wrap=True, highlight=False, markup=False)


def _encode(
    backbone: Backbone, images: TrainingImages, asked: list[AugmentedView], evaluator: Evaluator, folder: Path
) -> NDArray[np.float16]:
    """Return the activations of the frozen stages for some views, [len(asked), ...]."""
    batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
    loader: DataLoader[Item] = DataLoader(images, batch_sampler=batches, num_workers=evaluator.workers)
    device, done = evaluator.device, 0
    found: NDArray[np.float16] | None = None
    backbone.to(device)
    with torch.inference_mode(), progress_bar(evaluator.console) as progress:
        task = progress.add_task(f"Caching augmentations at {asked[0].size} px", total=len(asked))
        for batch in loader:
            block = _activations(backbone, batch["image"], device)
            if found is None:
                found = unnamed_file(folder, (len(asked), *block.shape[1:]), np.float16)
            found[done : done + len(block)] = block
            done += len(block)
            progress.update(task, completed=done)
    assert found is not None, "there are training images"
    return found


def _activations(backbone: Backbone, images: Tensor, device: torch.device) -> NDArray[np.float16]:
    with torch.autocast(device.type, torch.bfloat16, enabled=_has_bf16(device)):
        activations = backbone.activations(images.to(device))
    found: NDArray[np.float16] = activations.float().clamp(-HALF, HALF).half().cpu().numpy()
    return found


def _has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; half precision keeps all of its digits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported: bool = torch.cpu._is_avx512_bf16_supported()
    return device.type == "cpu" and supported
