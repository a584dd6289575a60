"""Losses of pytorch-metric-learning, with or without a miner, under one interface."""

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.class_vectors import find_class_vectors
from conspecific.losses.gather import gather
from conspecific.losses.memory import Memory, check_memory, compare_with_past


class MetricLoss(nn.Module):
    """A loss of embeddings [B, D] and labels [B]. docs/losses.md lists the losses and says when to use which.

    loss: a factory of a pytorch-metric-learning loss. Losses with class vectors (ArcFace and other classification or
        proxy losses) get `num_classes` and `embedding_size`; the class vectors are parameters of this module.
    miner: selects the pairs or triplets of a batch that the loss uses; None uses all.
    imprinted: whether `imprint` has to be called before training.
    memory: number of past embeddings that a batch is compared with too (Wang et al. 2020); 0 for none.

    With torch.distributed on several ranks, miner and loss see the joined batch of all ranks, and all ranks must call
    this together. Raises ConfigError for a memory that the loss or the miner cannot use.
    """

    def __init__(
        self,
        loss: Callable[..., nn.Module],
        num_classes: int,
        embedding_size: int,
        miner: nn.Module | None = None,
        imprinted: bool = False,
        memory: int = 0,
    ) -> None:
        super().__init__()
        self.imprinted = imprinted
        make = partial(_make, loss)
        self.loss = make(num_classes, embedding_size)
        self.miner = miner
        self.vectors = find_class_vectors(make, self.loss, num_classes, embedding_size)
        if memory != 0:
            check_memory(self.loss, miner, memory, embedding_size, keeps_vectors=self.vectors is not None)
        self.memory = Memory(memory, embedding_size) if memory else None

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of a batch; labels are dense training classes from 0.

        It is computed in float32 or float64, also under autocast. In training mode the batch is added to the memory.
        Raises ConfigError where the loss compares images with each other and the batch has no pair of one species, or
        one species only.
        """
        if embeddings.dtype in (torch.float16, torch.bfloat16):
            embeddings = embeddings.float()
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings, labels = gather(embeddings, labels)
            return self._of_joined(embeddings, labels)

    def _of_joined(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the joined batch of all ranks."""
        past = None if self.memory is None else self.memory.past()
        if self.memory is not None and self.training:
            self.memory.add(embeddings.detach(), labels)
        if self.vectors is None:
            _check_pairs(type(self.loss).__name__, labels, None if past is None else past[1])
        if past is not None and len(past[1]):
            return compare_with_past(self.loss, self.miner, embeddings, labels, past)
        mined = None if self.miner is None else self.miner(embeddings, labels)
        loss: Tensor = self.loss(embeddings, labels, mined)
        return loss

    def imprint(self, means: Tensor) -> None:
        """Imprint the class vectors (Qi et al. 2018): mean embedding of each species minus the mean of all species.

        means: [C, D], in the order of the training classes. Random class vectors would change good features in the
        first steps. Raises ConfigError where the loss has no class vectors.
        """
        if self.vectors is None:
            name = type(self.loss).__name__
            raise ConfigError(f"loss.imprinted=true, but {name} has no class vectors: set loss.imprinted=false")
        self.vectors.imprint(self.loss, means)


def _make(loss: Callable[..., nn.Module], num_classes: int, embedding_size: int) -> nn.Module:
    """Build a loss, with the sizes if it or a base class takes them."""
    target = loss.func if isinstance(loss, partial) else loss
    makers = target.__mro__[:-1] if isinstance(target, type) else [target]
    known = {name for maker in makers for name in inspect.signature(maker).parameters}
    sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
    return loss(**{name: size for name, size in sizes.items() if name in known})


def _check_pairs(name: str, labels: Tensor, past: Tensor | None) -> None:
    """Raise ConfigError unless a batch has a pair of one species and a second species."""
    species = torch.unique(labels)
    beside = labels if past is None else torch.cat([labels, past])
    positives = len(species) < len(labels) or bool(torch.isin(species, beside[len(labels) :]).any())
    if not positives:
        raise ConfigError(
            f"{name} compares images of one species, and a batch of {len(labels)} images has {len(species)} "
            "species, each once: set loader.samples_per_class to 2 or more"
        )
    if len(torch.unique(beside)) < 2:
        raise ConfigError(
            f"{name} compares images of different species, and a batch of {len(labels)} images has one: set "
            "loader.classes_per_batch to 2 or more"
        )
