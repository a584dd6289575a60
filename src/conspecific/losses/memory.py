"""Cross-batch memory (Wang et al. 2020): a batch is compared with past embeddings too."""

import torch
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_pairs_indices
from torch import Tensor, nn

from conspecific.errors import ConfigError


class Memory(nn.Module):
    """The last `size` embeddings of past batches and their labels, without gradients.

    The state dict holds all of it, so that a resumed run continues exactly: embeddings [size, D], labels [size] (-1 for
    empty entries), and `written`, the number of embeddings added in total. A new embedding replaces the oldest.
    """

    embeddings: Tensor
    labels: Tensor
    written: Tensor

    def __init__(self, size: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, dimensions))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("written", torch.tensor(0))

    def past(self) -> tuple[Tensor, Tensor]:
        """Return copies of the embeddings and labels, without empty entries."""
        held = min(int(self.written), len(self.labels))
        return self.embeddings[:held].clone(), self.labels[:held].clone()

    @torch.no_grad()
    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Replace the oldest entries by a batch; of a batch larger than the memory, the last images are kept."""
        size, count = len(self.labels), len(labels)
        kept = min(size, count)
        places = (self.written + torch.arange(count - kept, count, device=self.labels.device)) % size
        self.embeddings[places] = embeddings[count - kept :].to(self.embeddings.dtype)
        self.labels[places] = labels[count - kept :]
        self.written += count


def compare_with_past(
    loss: nn.Module, miner: nn.Module | None, embeddings: Tensor, labels: Tensor, past: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the loss of a batch [B, D] as anchors, compared with the batch and the past, no image with itself.

    Gradients pass through the batch, both as anchors and as positives and negatives. A miner may select pairs of an
    image with itself; these are removed.
    """
    reference, reference_labels = torch.cat([embeddings, past[0]]), torch.cat([labels, past[1]])
    if miner is None:
        picked = get_all_pairs_indices(labels, reference_labels)
    else:
        picked = miner(embeddings, labels, reference, reference_labels)
    anchors, positives, *negatives = picked
    others = anchors != positives  # the batch comes first in the reference: an anchor has the same number there
    if len(picked) == 3:
        negatives = [negatives[0][others]]
    found: Tensor = loss(
        embeddings, labels, (anchors[others], positives[others], *negatives), reference, reference_labels
    )
    return found


def check_memory(loss: nn.Module, miner: nn.Module | None, size: int, dimensions: int, keeps_vectors: bool) -> None:
    """Raise ConfigError where a loss or its miner cannot use a memory.

    keeps_vectors: whether the loss compares images with class vectors, not with each other.
    """
    name, found = type(loss).__name__, f"loss.memory={size}"
    if size < 0:
        raise ConfigError(f"loss.memory must be a number of embeddings, 0 for none; found {size}")
    if keeps_vectors:
        raise ConfigError(f"{found}, but {name} compares images with class vectors: set loss.memory=0")
    if getattr(miner, "pos_strategy", None) == "easy":
        raise ConfigError(
            f"{found} cannot be combined with {type(miner).__name__} and pos_strategy=easy: each image would be its "
            "own easiest positive. Set loss.memory=0, or choose another loss/miner."
        )
    batch, labels = torch.arange(4.0 * dimensions).sin().view(4, dimensions), torch.tensor([0, 0, 1, 1])
    try:
        with torch.no_grad():
            compare_with_past(loss, None, batch, labels, (batch.cos(), labels))
    except ValueError as error:
        raise ConfigError(f"{found}, but {name} compares images within a batch only: set loss.memory=0") from error
