"""The documented recipes of two metric-learning libraries; benchmarks/recipes/peers.py trains them.

oml, open-metric-learning 4.0:
    loop, Adam, BalanceSampler: README, "Examples". Its 2 labels x 2 images and learning rate of 1e-4 are for a toy
    data set; here 16 x 4 and 1e-5, the same for network and loss, from oml/configs/optimizer/adam.yaml and
    oml/lightning/pipelines/train.py.
    TripletLossWithMiner(0.1): README. HardTripletsMiner: README, FAQ, and pipelines/features_extraction/extractor_sop.
    Features are not normalized: README, whose network (vits16_dino) does not normalize. Careful: normalized features,
    for which margins of 0.1 to 0.2 are meant (the tips of pipelines/features_extraction) and which the scoring
    compares. torch normalizes them, not the library's normalise_features=True, which passes no gradient through the
    norm, so that this network shrinks its features to zero.
    ArcFaceLoss m=0.4, s=64: oml/configs/criterion/arcface.yaml.
    get_augs_hypvit(224): the pipelines that mine the hardest triplets, and the one with ArcFace.
pml, pytorch-metric-learning 2.9:
    loop: README, "Using losses and miners in your training loop".
    TripletMarginLoss(margin=0.1), MultiSimilarityMiner(epsilon=0.1), MPerClassSampler(m=4), batches of 32, Adam 1e-5
    with weight decay 1e-4, RandomResizedCrop(scale=(0.16, 1)) and flip: examples/notebooks/MetricLossOnly.ipynb.
    ArcFaceLoss: its defaults, margin 28.6 degrees and scale 64; a separate optimizer as in "Losses" of the
    documentation, Adam 1e-3, between the learning rates of the examples (SGD 1e-2 there, Adam 1e-4 in
    SubCenterArcFaceMNIST.ipynb).

If the documented images or network do not fit, the libraries get what is best for them: 224 px, the mean and standard
deviation of the weights' training, no new layer after the pooled features (MetricLossOnly.ipynb adds 64 random
dimensions), and persistent workers. A careful user keeps the pretrained statistics of batch norm (peers.set_mode), in
addition to the point above; everything else is as documented.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader

SIZE = 224


@dataclass(frozen=True)
class Images:
    """Training images: the path of each, and its species as a number from 0."""

    paths: Sequence[str]
    labels: Sequence[int]

    @property
    def species(self) -> int:
        """The number of species."""
        return len(set(self.labels))


@dataclass(frozen=True)
class Choice:
    """The choices of a recipe: triplet or arcface, documented or careful, learning rate, number of workers."""

    loss: str
    mode: str
    lr: float
    workers: int


@dataclass(frozen=True)
class Recipe:
    """A documented recipe: an epoch of (images, labels), the network, loss and optimizers.

    loss: embeddings [B, D] and labels [B] -> scalar.
    """

    epoch: Callable[[], Iterable[tuple[Tensor, Tensor]]]
    embed: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizers: Sequence[Optimizer]


def open_metric_learning(trunk: Any, images: Images, asked: Choice) -> Recipe:
    """The recipe of open-metric-learning."""
    import pandas as pd
    from oml.datasets import ImageLabeledDataset
    from oml.interfaces.models import IExtractor
    from oml.losses import ArcFaceLoss, TripletLossWithMiner
    from oml.miners import HardTripletsMiner
    from oml.samplers import BalanceSampler
    from oml.transforms.images.torchvision import get_augs_hypvit

    class Extractor(IExtractor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk

        @property
        def feat_dim(self) -> int:
            return int(trunk.num_features)

        def forward(self, x: Tensor) -> Any:
            return nn.functional.normalize(self.trunk(x)) if asked.mode == "careful" else self.trunk(x)

    extractor = Extractor()
    table = pd.DataFrame({"path": images.paths, "label": images.labels, "split": "train"})
    table = table.assign(is_query=None, is_gallery=None)
    data = ImageLabeledDataset(table, transform=get_augs_hypvit(SIZE, **moments(trunk)))
    sampler = BalanceSampler(data.get_labels(), n_labels=16, n_instances=4)
    loader = DataLoader(data, batch_sampler=sampler, num_workers=asked.workers, persistent_workers=asked.workers > 0)
    criterion: nn.Module = TripletLossWithMiner(0.1, HardTripletsMiner())
    if asked.loss == "arcface":
        criterion = ArcFaceLoss(extractor.feat_dim, images.species, m=0.4, s=64)
    return Recipe(
        lambda: ((batch["input_tensors"], batch["labels"]) for batch in loader),
        extractor,
        criterion,
        [Adam([*extractor.parameters(), *criterion.parameters()], lr=asked.lr)],
    )


def pytorch_metric_learning(trunk: Any, images: Images, asked: Choice) -> Recipe:
    """The recipe of pytorch-metric-learning."""
    from pytorch_metric_learning import losses, miners, samplers

    sampler = samplers.MPerClassSampler(images.labels, m=4, length_before_new_iter=len(images.labels))
    loader = DataLoader(
        Loaded(images, moments(trunk)),
        batch_size=32,
        sampler=sampler,
        num_workers=asked.workers,
        persistent_workers=asked.workers > 0,
        drop_last=True,
    )
    optimizers = [Adam(trunk.parameters(), lr=asked.lr, weight_decay=1e-4)]
    if asked.loss == "arcface":
        arcface = losses.ArcFaceLoss(images.species, trunk.num_features)
        return Recipe(lambda: loader, trunk, arcface, [*optimizers, Adam(arcface.parameters(), lr=1e-3)])
    miner, triplet = miners.MultiSimilarityMiner(epsilon=0.1), losses.TripletMarginLoss(margin=0.1)
    return Recipe(lambda: loader, trunk, lambda found, labels: triplet(found, labels, miner(found, labels)), optimizers)


RECIPES = {"oml": open_metric_learning, "pml": pytorch_metric_learning}


class Loaded(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images with the augmentation of MetricLossOnly.ipynb."""

    def __init__(self, images: Images, moments: dict[str, tuple[float, ...]]) -> None:
        from torchvision import transforms as t

        crop = t.RandomResizedCrop(SIZE, scale=(0.16, 1), ratio=(0.75, 1.33))
        steps = [t.Resize(SIZE), crop, t.RandomHorizontalFlip(0.5), t.ToTensor(), t.Normalize(**moments)]
        self.images, self.augment = images, t.Compose(steps)

    def __len__(self) -> int:
        return len(self.images.paths)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        from torchvision.datasets.folder import default_loader

        return self.augment(default_loader(self.images.paths[place])), self.images.labels[place]


def moments(trunk: Any) -> dict[str, tuple[float, ...]]:
    """Return the mean and standard deviation of pixels that the weights were trained with."""
    return {name: trunk.pretrained_cfg[name] for name in ("mean", "std")}
