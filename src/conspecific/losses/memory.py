"""Cross-batch memory: past embeddings as further images to compare with (Wang et al. 2020)."""

import torch
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_pairs_indices
from torch import Tensor, nn

from conspecific.errors import ConfigError


class Memory(nn.Module):
    """The last `size` embeddings of past batches and their labels, constants without gradients.

    All of it is in the state dict, so that a resumed run goes on as it would have: embeddings [size, D], labels [size]
    (-1 where nothing has been written yet), and `written`, the number of embeddings ever added. The next one replaces
    the oldest.
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
        """Return copies of the embeddings and labels that are held; what has not been written is not among them."""
        held = min(int(self.written), len(self.labels))
        return self.embeddings[:held].clone(), self.labels[:held].clone()

    @torch.no_grad()
    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Write a batch over the oldest; of one that is larger than the memory, its last ones."""
        size, count = len(self.labels), len(labels)
        kept = min(size, count)
        places = (self.written + torch.arange(count - kept, count, device=self.labels.device)) % size
        self.embeddings[places] = embeddings[count - kept :].to(self.embeddings.dtype)
        self.labels[places] = labels[count - kept :]
        self.written += count


def compare_with_past(
    loss: nn.Module, miner: nn.Module | None, embeddings: Tensor, labels: Tensor, past: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the loss of a batch's anchors [B, D] against the batch and the past, no image against itself.

    Gradients pass through the batch, as anchors and as what they are compared with. A miner sees each image beside
    itself; what it picks of that is dropped.
    """
    reference, reference_labels = torch.cat([embeddings, past[0]]), torch.cat([labels, past[1]])
    if miner is None:
        picked = get_all_pairs_indices(labels, reference_labels)
    else:
        picked = miner(embeddings, labels, reference, reference_labels)
    anchors, positives, *negatives = picked
    others = anchors != positives  # the batch comes first in the reference, so its own place is the anchor's number
    if len(picked) == 3:
        negatives = [negatives[0][others]]
    found: Tensor = loss(
        embeddings, labels, (anchors[others], positives[others], *negatives), reference, reference_labels
    )
    return found


def check_memory(loss: nn.Module, miner: nn.Module | None, size: int, dimensions: int, keeps_vectors: bool) -> None:
    """Raise ConfigError where a loss or its miner cannot make use of a memory.

    keeps_vectors: whether the loss compares images with vectors of the species, not with each other.
    """
    name, found = type(loss).__name__, f"loss.memory={size}"
    if size < 0:
        raise ConfigError(f"loss.memory must be a number of embeddings, 0 for none; found {size}")
    if keeps_vectors:
        raise ConfigError(f"{found}, but {name} compares images with vectors of the species: set loss.memory=0")
    if getattr(miner, "pos_strategy", None) == "easy":
        raise ConfigError(
            f"{found} does not go with {type(miner).__name__} and pos_strategy=easy: each image would be its own "
            "easiest positive. Set loss.memory=0, or take another miner."
        )
    batch, labels = torch.arange(4.0 * dimensions).sin().view(4, dimensions), torch.tensor([0, 0, 1, 1])
    try:
        with torch.no_grad():
            compare_with_past(loss, None, batch, labels, (batch.cos(), labels))
    except ValueError as error:
        raise ConfigError(f"{found}, but {name} knows of no other images than a batch's: set loss.memory=0") from error
