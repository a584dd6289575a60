"""Fine-tune a timm network in a LightningModule of your own, and measure retrieval after every epoch.

    python examples/own_training_loop.py                   the built-in butterflies, three epochs
    python examples/own_training_loop.py FOLDER [EPOCHS]   your images, one folder for each species

Half of the images are trained on, and each of the others is searched in all others. On two CPU cores an epoch on the
butterflies takes one minute.
"""

import sys

import pytorch_lightning as pl
import torch
from pytorch_metric_learning import losses, miners, samplers
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import conspecific as cs
from conspecific.data.sources import butterflies
from conspecific.models.weights import create_backbone


class OwnModule(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = create_backbone("tf_efficientnet_lite0", "bundled")  # or timm.create_model(...)
        self.loss, self.miner = losses.TripletMarginLoss(margin=0.2), miners.BatchEasyHardMiner()

    def forward(self, images):
        return self.network(images).mean(dim=(2, 3))

    def training_step(self, batch, batch_idx):
        embeddings, labels = self(batch[0]), batch[1]
        return self.loss(embeddings, labels, self.miner(embeddings, labels))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def main(folder: str = "", epochs: str = "3") -> None:
    root = folder or butterflies("~/.cache/conspecific").root
    tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    augmented = ImageFolder(root, v2.Compose([v2.RandomResizedCrop(160), v2.RandomHorizontalFlip(), *tensor]))
    plain = ImageFolder(root, v2.Compose([v2.Resize(160), v2.CenterCrop(160), *tensor]))
    order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(0)).tolist()
    train, val = order[::2], order[1::2]
    sampler = samplers.MPerClassSampler(
        [plain.targets[place] for place in train], m=4, length_before_new_iter=len(train)
    )
    batches = DataLoader(Subset(augmented, train), batch_size=32, sampler=sampler)
    retrieval = cs.RetrievalCallback(Subset(plain, val), monitor="map@r")
    trainer = pl.Trainer(max_epochs=int(epochs), callbacks=[retrieval], logger=False, enable_checkpointing=False)
    trainer.fit(OwnModule(), batches)
    print(", ".join(f"{name} {value:.3f}" for name, value in retrieval.best.metrics.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
