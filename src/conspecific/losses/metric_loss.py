"""Any loss of pytorch-metric-learning, with or without a miner, behind one face."""

import inspect
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conspecific.errors import ConfigError


class MetricLoss(nn.Module):
    """A loss on embeddings [B, D] and labels [B].

    loss: a factory of a pytorch-metric-learning loss. Losses that keep a vector for each species (ArcFace and other
        classification or proxy losses) are given `num_classes` and `embedding_size`; those weights are parameters of
        this module, so an optimizer made from its parameters trains them.
    miner: picks the pairs or triplets of a batch that the loss looks at; None looks at all.
    imprinted: whether `imprint` is to be called before training.
    """

    def __init__(
        self,
        loss: Callable[..., nn.Module],
        num_classes: int,
        embedding_size: int,
        miner: nn.Module | None = None,
        imprinted: bool = False,
    ) -> None:
        super().__init__()
        self.imprinted = imprinted
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        self.loss = loss(**{name: size for name, size in sizes.items() if name in _arguments(loss)})
        self.miner = miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of a batch; labels are dense training classes from 0."""
        mined = None if self.miner is None else self.miner(embeddings, labels)
        loss: Tensor = self.loss(embeddings, labels, mined)
        return loss

    @torch.no_grad()
    def imprint(self, means: Tensor) -> None:
        """Start each species' vector from its mean embedding (Qi et al. 2018), less the mean of all species.

        means: [C, D], in the order of the training classes. From random vectors the first steps would tear at features
        that were good already. The vectors are given length sqrt(D), as random ones have, which fits their learning
        rate. Raises ConfigError where the loss does not keep one vector a species.
        """
        vectors = F.normalize(means - means.mean(dim=0)) * means.shape[1] ** 0.5
        weights = [weight for weight in self.loss.parameters() if weight.shape in (vectors.shape, vectors.T.shape)]
        if len(weights) != 1:
            name = type(self.loss).__name__
            raise ConfigError(f"loss.imprinted=true, but {name} does not keep one vector a species: set it to false")
        weights[0].copy_(vectors if weights[0].shape == vectors.shape else vectors.T)


def _arguments(factory: Callable[..., nn.Module]) -> set[str]:
    """Names of what a loss can be given; a class may pass some on to the classes it is made from."""
    target = factory.func if isinstance(factory, partial) else factory
    makers = target.__mro__[:-1] if isinstance(target, type) else [target]
    return {name for maker in makers for name in inspect.signature(maker).parameters}
