"""Cached augmentations: the frozen stages' activations of augmented training images, computed once."""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from conspecific.config.schema import TrainConfig
from conspecific.data.cached_augmentations import CachedAugmentations, cached_seed
from conspecific.data.dataset import TrainingImages
from conspecific.encoding import Encoder, Rows, torch_encoder
from conspecific.encoding.encoders import digest
from conspecific.evaluation import Evaluator
from conspecific.evaluation.embed import Activations, half
from conspecific.evaluation.frozen import group_name
from conspecific.images import to_tensor
from conspecific.models import Backbone, FrozenStages
from conspecific.progress import progress_bar
from conspecific.training.training_data import TrainingData
from conspecific.types import IntArray

BATCH, SAMPLE = 64, 16  # views
ALWAYS = 100_000  # views of all images that take minutes at most, and are computed whatever training takes


def cache_augmentations(
    backbone: Backbone, images: TrainingData, evaluator: Evaluator, config: TrainConfig
) -> CachedAugmentations | None:
    """Return the activations of `recipe.cached_augmentations` views of each training image, at each size of crops.

    A view depends on the content of its image and on its number, so that other runs on the same images find it among
    the kept activations, whatever their seed. There are fewer views where they would take more than half of the free
    disk, or more than ALWAYS views were more than all epochs draw, so that new views in each epoch would take less
    time. Prints how much space and about how much time they take. Returns None, and prints why, where no stage is
    frozen, the backbone cannot be cut, or there would be fewer than two views of each image.
    """
    ids, sizes = evaluator.splits.train, sorted(set(images.sizes))
    if not backbone.is_split:
        _say(evaluator, "New views are made each epoch: no early stage is frozen, or the backbone cannot be cut there.")
        return None
    bytes_a_view = 2 * len(ids) * sum(backbone.activation_size(size) for size in sizes)  # in half precision
    asked, each = config.recipe.cached_augmentations, len(ids) * len(sizes)
    drawn = len(images.sizes) * len(images.batches) * images.batches.batch_size
    views = min(asked, evaluator.kept.room() // bytes_a_view, max(ALWAYS, drawn) // each)
    if views < 2:
        taken = f"{bytes_a_view / 1e9:.1f} GB, and all epochs together draw {drawn / each:.1f}"
        _say(evaluator, f"New views are made each epoch: one view of each image would take {taken}.")
        return None
    if views < asked:
        _say(evaluator, f"{views} views of each training image are cached: {asked} would take too much.")
    contents = evaluator.keys(ids)
    wanted = [
        View(index, content, number)
        for index, content in zip(ids.tolist(), contents, strict=True)
        for number in range(views)
    ]
    network = FrozenStages(backbone).eval().to(evaluator.device)
    with evaluator.phases.measure("encoding"):
        values = {size: _rows(network, Views(images.train_images, wanted, size), evaluator) for size in sizes}
    return CachedAugmentations(evaluator.manifest, ids, views, values)


class View(NamedTuple):
    """One view of an image: its sample id, what the kept activations know it by, and the number of the view."""

    sample_id: int
    content: str
    number: int


class Views(Dataset[Tensor]):
    """Views of training images at one size: item -> all of one image, uint8 [V, 3, size, size], decoded once."""

    def __init__(self, images: TrainingImages, views: Sequence[View], size: int) -> None:
        self.images, self.views, self.size = images, views, size
        self.of_image = [list(group) for _, group in groupby(views, lambda view: view.sample_id)]

    def __len__(self) -> int:
        return len(self.of_image)

    def __getitem__(self, place: int) -> Tensor:
        views = self.of_image[place]
        seeds = [cached_seed(view.content, view.number) for view in views]
        return torch.stack([to_tensor(image) for image in self.images.augmented(views[0].sample_id, seeds, self.size)])

    def sample(self) -> Tensor:
        """Return the views of the first few images, uint8 [B, 3, size, size]."""
        images = -(-SAMPLE * len(self) // len(self.views))
        return torch.cat([self[place] for place in range(min(len(self), images))])


def _rows(network: FrozenStages, views: Views, evaluator: Evaluator) -> Rows:
    """Return the activations of views, of which only those that are not kept from earlier runs are computed."""
    keys, kept = [f"{view.content}-{view.number}" for view in views.views], evaluator.kept
    facts = views.images.crop_scale, views.images.jitter, torchvision.__version__
    stages = digest(network)
    for backend, precision in evaluator.encoders.acceptable(reduced=True):
        if found := kept.find(group_name(stages, views.size, backend, precision, *facts), keys):
            _say(evaluator, f"Cached augmentations at {views.size} px: {len(keys):,} views, kept from an earlier run.")
            return found
    encoder = _encoder(network, views, evaluator)
    group = group_name(stages, views.size, encoder.backend, encoder.precision, *facts)

    def encode(missing: IntArray) -> Iterator[Activations]:
        new = Views(views.images, [views.views[place] for place in missing], views.size)
        return _encoded(encoder, new, evaluator)

    return kept.completed(group, keys, encode)


def _encoder(network: FrozenStages, views: Views, evaluator: Evaluator) -> Encoder:
    """Return the encoder of the frozen stages for views of this size."""
    found = evaluator.encoders.open(network, views.sample, len(views.views), reduced=True)
    if found.backend == "torch" and evaluator.encoders.precision == "auto" and _has_bf16(evaluator.device):
        return torch_encoder(network, evaluator.device, "bfloat16")
    return found


def _encoded(encoder: Encoder, views: Views, evaluator: Evaluator) -> Iterator[Activations]:
    """Yield the activations of views in half precision, [B, ...], and print how long all of them take."""
    count = len(views.views)
    loader: DataLoader[Tensor] = DataLoader(
        views, max(1, BATCH * len(views) // count), num_workers=evaluator.workers, collate_fn=torch.cat
    )
    with progress_bar(evaluator.console) as progress:
        task = progress.add_task(f"Caching augmentations at {views.size} px", total=count)
        taken = f"{count:,} views of {len(views):,} training images"
        seconds = _seconds(encoder, views, evaluator.workers)
        _say(evaluator, f"Caching augmentations at {views.size} px: {taken}, about {_duration(seconds)}.")
        for batch in loader:
            yield half(encoder(batch)).cpu().numpy()
            progress.advance(task, len(batch))


def _seconds(encoder: Encoder, views: Views, workers: int) -> float:
    """Measure how long all views take; decoding in worker processes goes on beside the network."""
    began = time.perf_counter()
    sample = views.sample()
    decoded = time.perf_counter()
    encoder(sample)
    decoding, encoding = decoded - began, time.perf_counter() - decoded
    both = max(decoding / workers, encoding) if workers else decoding + encoding
    return both * len(views.views) / len(sample)


def _duration(seconds: float) -> str:
    """Return a duration for people.

    >>> _duration(7.4), _duration(150)
    ('7 s', '2 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _say(evaluator: Evaluator, text: str) -> None:
    evaluator.console.print(text, soft_wrap=True, highlight=False, markup=False)


def _has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; half precision keeps all of its digits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported: bool = torch.cpu._is_avx512_bf16_supported()
    return device.type == "cpu" and supported
