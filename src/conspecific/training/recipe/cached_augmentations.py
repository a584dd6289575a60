"""Cached augmentations: the frozen stages' activations of augmented training images, computed once."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
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
HALF = torch.finfo(torch.float16).max  # single activations of some networks are larger


def cache_augmentations(
    backbone: Backbone, images: TrainingData, evaluator: Evaluator, config: TrainConfig
) -> CachedAugmentations | None:
    """Return the activations of `recipe.cached_augmentations` views of each training image, at each size of crops.

    They are memory-mapped files without a name in the cache folder, which the operating system removes when the process
    ends. They take at most half of the free disk, with fewer views where necessary. Returns None, and prints why, where
    no stage is frozen, the backbone cannot be cut, or the disk has no room for two views of each image.
    """
    ids, folder = evaluator.splits.train, Path(config.paths.cache).expanduser()
    sizes = sorted(set(images.sizes))
    if not backbone.is_split:
        _say(evaluator, "New views are made each epoch: no early stage is frozen, or the backbone cannot be cut there.")
        return None
    bytes_a_view = 2 * len(ids) * sum(backbone.activation_size(size) for size in sizes)  # in half precision
    folder.mkdir(parents=True, exist_ok=True)
    views = min(config.recipe.cached_augmentations, usable_bytes(folder) // bytes_a_view)
    if views < 2:
        _say(evaluator, f"New views are made each epoch: one of each image would take {bytes_a_view / 1e9:.1f} GB.")
        return None
    _say(evaluator, f"Caching {views} views of each training image: {views * bytes_a_view / 1e9:.1f} GB in {folder}")
    values = {}
    for size in sizes:
        asked = [
            AugmentedView(int(index), cached_seed(config.seed, view, int(index)), size)
            for view in range(views)
            for index in ids
        ]
        found = _encode(backbone, images.train_images, asked, evaluator, folder)
        values[size] = found.reshape(views, len(ids), *found.shape[1:])
    return CachedAugmentations(evaluator.manifest, ids, values)


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
            with torch.autocast(device.type, torch.bfloat16, enabled=_has_bf16(device)):
                activations = backbone.activations(batch["image"].to(device))
            block = activations.float().clamp(-HALF, HALF).half().cpu().numpy()
            if found is None:
                found = unnamed_file(folder, (len(asked), *block.shape[1:]), np.float16)
            found[done : done + len(block)] = block
            done += len(block)
            progress.update(task, completed=done)
    assert found is not None, "there are training images"
    return found


def _has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; half precision keeps all of its digits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported: bool = torch.cpu._is_avx512_bf16_supported()
    return device.type == "cpu" and supported
