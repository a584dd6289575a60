"""Training batches as a LightningDataModule."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from conspecific.config.schema import LoaderConfig
from conspecific.data.dataset import Item, TrainingPictures
from conspecific.data.manifest import Manifest
from conspecific.data.sampler import SpeciesBatches
from conspecific.data.splits import Splits
from conspecific.evaluation import workers_for


class Pictures(pl.LightningDataModule):
    """P x K batches of augmented training pictures."""

    def __init__(self, manifest: Manifest, splits: Splits, loader: LoaderConfig, seed: int) -> None:
        super().__init__()
        self.loader = loader
        low, high = loader.crop_scale
        self.train_pictures = TrainingPictures(manifest, loader.train_size, (low, high), loader.jitter)
        labels = manifest.labels[splits.train]
        self.batches = SpeciesBatches(splits.train, labels, loader.batch_species, loader.batch_pictures, seed)

    def train_dataloader(self) -> DataLoader[Item]:
        workers = workers_for(self.loader.workers)
        return DataLoader(
            self.train_pictures,
            batch_sampler=self.batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
