"""Matryoshka representation learning (Kusupati et al. 2022): the first dimensions are embeddings of their own."""

from collections.abc import Callable, Sequence

from conspecific.errors import ConfigError
from conspecific.losses import Matryoshka, MetricLoss


def matryoshka_loss(
    make: Callable[[int], MetricLoss], lengths: Sequence[int], dimensions: int
) -> MetricLoss | Matryoshka:
    """Return the loss over several prefixes of an embedding of `dimensions`, the whole embedding always included.

    make: builds the loss of embeddings of a given length. lengths: `recipe.matryoshka`; without any, the plain loss is
    returned. Raises ConfigError where a length is above `dimensions`.
    """
    if not lengths:
        return make(dimensions)
    if max(lengths) > dimensions:
        raise ConfigError(f"recipe.matryoshka={list(lengths)}, but an embedding has {dimensions} dimensions")
    return Matryoshka(make, sorted({*lengths, dimensions}))
