"""Linear probing, then fine-tuning (LP-FT, Kumar et al. 2022): the first epochs train only the head and the loss."""

from torch import nn

from conspecific.errors import ConfigError
from conspecific.models import Embedder


def trains_backbone(epoch: int, head_epochs: int) -> bool:
    """Whether the backbone gets gradients in an epoch, counted from 0."""
    return epoch >= head_epochs


def check_head_epochs(head_epochs: int, embedder: Embedder, loss: nn.Module) -> None:
    """Raise ConfigError where pooling, head and loss have no parameters that the first epochs could train."""
    if not head_epochs:
        return
    if not [*embedder.pooling.parameters(), *embedder.head.parameters(), *loss.parameters()]:
        raise ConfigError(
            f"recipe.head_epochs={head_epochs} trains pooling, head and loss first, and none of them has a "
            "parameter: set model.head=linear, or a loss with class vectors, or recipe.head_epochs=0"
        )
