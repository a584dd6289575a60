"""Any loss of pytorch-metric-learning, with or without a miner, behind one face."""

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
    """A loss on embeddings [B, D] and labels [B]. docs/losses.md says which there are and when to use which.

    loss: a factory of a pytorch-metric-learning loss. Losses that keep a vector for each species (ArcFace and other
        classification or proxy losses) are given `num_classes` and `embedding_size`; those weights are parameters of
        this module, so an optimizer made from its parameters trains them.
    miner: picks the pairs or triplets of a batch that the loss looks at; None looks at all.
    imprinted: whether `imprint` is to be called before training.
    memory: how many past embeddings a batch is compared with as well (Wang et al. 2020); 0 for none.

    Where torch.distributed runs on several ranks, miner and loss see the joined batch of all of them, and every rank
    must call this together. Raises ConfigError for a memory that the loss or the miner cannot use.
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

        It is computed in float32 at least, under autocast too. In training mode the batch then enters the memory.
        Raises ConfigError where the images are to be compared with each other and there is no pair of one species,
        or no other species.
        """
        if embeddings.dtype in (torch.float16, torch.bfloat16):
            embeddings = embeddings.float()
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings, labels = gather(embeddings, labels)
            return self._of_joined(embeddings, labels)

    def _of_joined(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of the joined batch of all ranks."""
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
        """Start each species' vectors from its mean embedding (Qi et al. 2018), less the mean of all species.

        means: [C, D], in the order of the training classes. From random vectors the first steps would tear at features
        that were good already. Raises ConfigError where the loss does not keep vectors of the species.
        """
        if self.vectors is None:
            name = type(self.loss).__name__
            raise ConfigError(f"loss.imprinted=true, but {name} does not keep vectors of the species: set it to false")
        self.vectors.imprint(self.loss, means)


def _make(loss: Callable[..., nn.Module], num_classes: int, embedding_size: int) -> nn.Module:
    """Build a loss, with the sizes where it takes them; a class may pass some on to the classes it is made from."""
    target = loss.func if isinstance(loss, partial) else loss
    makers = target.__mro__[:-1] if isinstance(target, type) else [target]
    known = {name for maker in makers for name in inspect.signature(maker).parameters}
    sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
    return loss(**{name: size for name, size in sizes.items() if name in known})


def _check_pairs(name: str, labels: Tensor, past: Tensor | None) -> None:
    """Hold that a batch has something to pull together and something to push apart."""
    species = torch.unique(labels)
    beside = labels if past is None else torch.cat([labels, past])
    positives = len(species) < len(labels) or bool(torch.isin(species, beside[len(labels) :]).any())
    if not positives:
        raise ConfigError(
            f"{name} compares images of one species, and a batch of {len(labels)} images shows {len(species)} "
            "species, each once: set loader.samples_per_class to 2 or more"
        )
    if len(torch.unique(beside)) < 2:
        raise ConfigError(
            f"{name} compares images of different species, and a batch of {len(labels)} images shows one: set "
            "loader.classes_per_batch to 2 or more"
        )
