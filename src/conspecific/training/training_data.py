"""Training batches as a LightningDataModule."""

from math import prod

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from conspecific.config.recipe import PK, RecipeConfig
from conspecific.config.schema import LoaderConfig
from conspecific.data.balanced_sampler import EXPONENTS, BalancedSampler
from conspecific.data.cached_augmentations import CachedAugmentations
from conspecific.data.dataset import Item, TrainingImages
from conspecific.data.manifest import Manifest
from conspecific.data.sampler import EpochSampler, PKSampler
from conspecific.data.splits import Splits
from conspecific.images import workers_for
from conspecific.training.recipe.progressive_resizing import growing_sizes


class TrainingData(pl.LightningDataModule):
    """Batches of a sampler from augmented training images, or from `cached` augmentations where there are any."""

    def __init__(
        self, manifest: Manifest, splits: Splits, loader: LoaderConfig, recipe: RecipeConfig, epochs: int, seed: int
    ) -> None:
        super().__init__()
        self.loader = loader
        low, high = loader.crop_scale
        self.train_images = TrainingImages(manifest, (low, high), loader.jitter)
        self.cached: CachedAugmentations | None = None
        self.sizes = growing_sizes(recipe.initial_size or loader.train_size, loader.train_size, epochs)
        labels, shape = manifest.labels[splits.train], (loader.classes_per_batch, loader.samples_per_class)
        self.batches: EpochSampler
        if loader.sampling == PK:
            self.batches = PKSampler(splits.train, labels, *shape, seed, self.sizes, recipe.hard_negatives)
        else:
            exponent = EXPONENTS[loader.sampling]
            self.batches = BalancedSampler(splits.train, labels, prod(shape), exponent, seed, self.sizes)

    def train_dataloader(self) -> DataLoader[Item]:
        workers = workers_for(self.loader.workers) if self.cached is None else 0  # copying needs no worker process
        return DataLoader(
            self.cached or self.train_images,
            batch_sampler=self.batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
