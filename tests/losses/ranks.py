"""Losses on several ranks, and the same in one process. `python ranks.py RANK FOLDER` is one of the ranks."""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from conspecific.losses import Matryoshka, MetricLoss, SmoothAP

SIZES = (7, 5)  # images of each rank's batch
INPUTS, DIMENSIONS, SPECIES, STEPS = 6, 4, 3, 2


def triplets() -> MetricLoss:
    loss = partial(losses.TripletMarginLoss, margin=0.3)
    return MetricLoss(loss, SPECIES, DIMENSIONS, miner=miners.MultiSimilarityMiner())


def nested() -> Matryoshka:
    return Matryoshka(lambda length: MetricLoss(losses.ArcFaceLoss, SPECIES, length), [DIMENSIONS, 2])


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "multi_similarity": partial(MetricLoss, losses.MultiSimilarityLoss, SPECIES, DIMENSIONS),
    "arcface": partial(MetricLoss, losses.ArcFaceLoss, SPECIES, DIMENSIONS),
    "proxy_anchor": partial(MetricLoss, losses.ProxyAnchorLoss, SPECIES, DIMENSIONS),
    "triplet": triplets,
    "smooth_ap": partial(MetricLoss, partial(SmoothAP, temperature=0.2), SPECIES, DIMENSIONS),
    "memory": partial(MetricLoss, losses.MultiSimilarityLoss, SPECIES, DIMENSIONS, memory=20),
    "matryoshka": nested,
}


class Whole(nn.Module):
    """Embedder and loss in one, as a LightningModule holds them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedder = nn.Linear(INPUTS, DIMENSIONS)
        self.loss = MAKERS[name]()

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = self.loss(self.embedder(inputs), labels)
        return value


def images(step: int) -> tuple[Tensor, Tensor]:
    """The joined batch of a step."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(sum(SIZES), INPUTS, generator=generator), torch.arange(sum(SIZES)) % SPECIES


def steps(whole: Whole, forward: Callable[[Tensor, Tensor], Tensor], rank: int | None) -> list[Tensor]:
    """Losses of some steps of SGD, then every parameter's last gradient, then every buffer."""
    found = []
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.1)
    for step in range(STEPS):
        inputs, labels = images(step)
        if rank is not None:
            inputs, labels = torch.split(inputs, SIZES)[rank], torch.split(labels, SIZES)[rank]
        optimizer.zero_grad()
        value = forward(inputs, labels)
        value.backward()
        optimizer.step()
        found.append(value.detach())
    found += [parameter.grad for parameter in whole.parameters() if parameter.grad is not None]
    return found + [buffer.clone() for buffer in whole.buffers()]


def wrapped(name: str, rank: int) -> list[Tensor]:
    """DistributedDataParallel around embedder and loss."""
    whole = Whole(name)
    return steps(whole, DistributedDataParallel(whole), rank)


def embedder_wrapped(name: str, rank: int) -> list[Tensor]:
    """DistributedDataParallel around the embedder alone; the loss's parameters are nobody's to average."""
    whole = Whole(name)
    embedder = DistributedDataParallel(whole.embedder)
    return steps(whole, lambda inputs, labels: whole.loss(embedder(inputs), labels), rank)


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=len(SIZES))
    found = {name: {"whole": wrapped(name, rank), "embedder": embedder_wrapped(name, rank)} for name in MAKERS}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    main(int(sys.argv[1]), Path(sys.argv[2]))
