"""Training batches as a LightningDataModule."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from conspecific.config.schema import LoaderConfig, RecipeConfig
from conspecific.data.cached_augmentations import CachedAugmentations
from conspecific.data.dataset import Item, TrainingImages
from conspecific.data.manifest import Manifest
from conspecific.data.sampler import PKSampler
from conspecific.data.splits import Splits
from conspecific.errors import ConfigError
from conspecific.images import workers_for


class TrainingData(pl.LightningDataModule):
    """Batches of a PK sampler from augmented training images, or from `cached` augmentations where there are any."""

    def __init__(
        self, manifest: Manifest, splits: Splits, loader: LoaderConfig, recipe: RecipeConfig, epochs: int, seed: int
    ) -> None:
        super().__init__()
        self.loader = loader
        low, high = loader.crop_scale
        self.train_images = TrainingImages(manifest, (low, high), loader.jitter)
        self.cached: CachedAugmentations | None = None
        self.sizes = growing_sizes(recipe.initial_size or loader.train_size, loader.train_size, epochs)
        self.batches = PKSampler(
            splits.train,
            manifest.labels[splits.train],
            loader.classes_per_batch,
            loader.samples_per_class,
            seed,
            self.sizes,
            recipe.hard_negatives,
        )

    def train_dataloader(self) -> DataLoader[Item]:
        workers = workers_for(self.loader.workers) if self.cached is None else 0  # copying needs no worker process
        return DataLoader(
            self.cached or self.train_images,
            batch_sampler=self.batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def growing_sizes(first: int, last: int, epochs: int) -> Sequence[int]:
    """Side of the training crops in each epoch, in pixels: from `first` in steps of 32 to `last`, there for a quarter.

    Small crops teach coarse things at little cost (Howard 2018, Tan & Le 2021). Raises ConfigError where they shrink.

    >>> growing_sizes(96, 160, 8), growing_sizes(96, 160, 1)
    ([96, 96, 96, 128, 128, 128, 160, 160], [160])
    """
    if first > last:
        raise ConfigError(
            f"recipe.initial_size={first} is above loader.train_size={last}: crops grow, they do not shrink"
        )
    steps = -(-(last - first) // 32)
    rising = 3 * epochs // 4 if steps else 0
    grown = [first + 32 * (steps * epoch // rising) for epoch in range(rising)]
    return grown + [last] * (epochs - rising)
