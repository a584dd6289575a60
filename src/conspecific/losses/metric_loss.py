"""Any loss of pytorch-metric-learning, with or without a miner, behind one face."""

import inspect
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn


class MetricLoss(nn.Module):
    """A loss on embeddings [B, D] and labels [B].

    loss: a factory of a pytorch-metric-learning loss. Losses that keep a vector for each species (ArcFace and other
        classification or proxy losses) are given `num_classes` and `embedding_size`; those weights are parameters of
        this module, so an optimizer made from its parameters trains them.
    miner: picks the pairs or triplets of a batch that the loss looks at; None looks at all.
    """

    def __init__(
        self, loss: Callable[..., nn.Module], num_classes: int, embedding_size: int, miner: nn.Module | None = None
    ) -> None:
        super().__init__()
        wanted = inspect.signature(loss.func if isinstance(loss, partial) else loss).parameters
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        self.loss = loss(**{name: size for name, size in sizes.items() if name in wanted})
        self.miner = miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of a batch; labels are dense training classes from 0."""
        mined = None if self.miner is None else self.miner(embeddings, labels)
        loss: Tensor = self.loss(embeddings, labels, mined)
        return loss
