"""Cross-batch memory: what is held, what is compared, and that a resumed run goes on as it would have."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses import MetricLoss, RecallAtK, SmoothAP
from conspecific.losses.memory import Memory

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def batches(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 6, 8, generator=torch.Generator().manual_seed(seed))


def distances(anchors: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(nn.functional.normalize(anchors), nn.functional.normalize(others))


def masks(labels: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Positives and negatives of a batch that comes first among the others; no image is its own positive."""
    same = labels[:, None] == others[None]
    negative = ~same
    same[torch.arange(len(labels)), torch.arange(len(labels))] = False
    return same, negative


def mean_above_zero(values: Tensor) -> Tensor:
    return values[values > 0].mean() if (values > 0).any() else values.sum() * 0


def contrastive_by_hand(batch: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    positive, negative = masks(LABELS, labels)
    apart = distances(batch, reference)
    return mean_above_zero(apart[positive]) + mean_above_zero((1 - apart[negative]).relu())


def batch_hard_by_hand(batch: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    positive, negative = masks(LABELS, labels)
    apart = distances(batch, reference)
    farthest = apart.masked_fill(~positive, -1).max(dim=1).values
    nearest = apart.masked_fill(~negative, 9).min(dim=1).values
    return mean_above_zero((farthest - nearest + 0.2).relu())


CASES: list[tuple[Callable[..., nn.Module], nn.Module | None, Callable[[Tensor, Tensor, Tensor], Tensor]]] = [
    (losses.ContrastiveLoss, None, contrastive_by_hand),
    (partial(losses.TripletMarginLoss, margin=0.2), miners.BatchHardMiner(), batch_hard_by_hand),
]


@given(sizes=st.lists(st.integers(0, 9), max_size=6), size=st.integers(1, 7))
@settings(deadline=None)
def test_the_memory_holds_the_last_of_all_batches(sizes: list[int], size: int) -> None:
    memory, given_to_it = Memory(size, 1), torch.arange(sum(sizes))
    for batch in torch.split(given_to_it, sizes):
        memory.add(batch[:, None].float(), batch)
    embeddings, labels = memory.past()
    assert sorted(labels.tolist()) == given_to_it[-size:].tolist()
    assert torch.equal(embeddings[:, 0], labels.float())
    assert int(memory.written) == len(given_to_it)


@pytest.mark.parametrize(("loss", "miner", "by_hand"), CASES, ids=["contrastive", "batch-hard triplets"])
@pytest.mark.parametrize("size", [4, 12, 100])  # less than a batch, two of them, more than there will be
def test_anchors_are_compared_with_batch_and_past(
    loss: Callable[..., nn.Module], miner: nn.Module | None, by_hand: Callable[..., Tensor], size: int
) -> None:
    metric_loss = MetricLoss(loss, 3, 8, miner=miner, memory=size)
    seen: list[Tensor] = []
    for number, values in enumerate(batches(4)):
        batch, same = values.clone().requires_grad_(), values.clone().requires_grad_()
        found = metric_loss(batch, LABELS)
        past = torch.cat(seen)[-size:] if seen else values[:0]
        labels = torch.cat([LABELS, LABELS.repeat(number)[-size:] if number else LABELS[:0]])
        wanted = by_hand(same, torch.cat([same, past]), labels)
        torch.testing.assert_close(found, wanted)
        found.backward()
        wanted.backward()
        torch.testing.assert_close(batch.grad, same.grad)
        seen.append(values)


@pytest.mark.parametrize("loss", [losses.MultiSimilarityLoss, losses.SupConLoss, SmoothAP, RecallAtK])
def test_the_first_batch_is_compared_with_itself_alone(loss: type[nn.Module]) -> None:
    batch = batches(1)[0]
    assert torch.equal(MetricLoss(loss, 3, 8, memory=20)(batch, LABELS), MetricLoss(loss, 3, 8)(batch, LABELS))


@pytest.mark.parametrize(
    "loss", [losses.MultiSimilarityLoss, losses.SupConLoss, losses.CircleLoss, SmoothAP, RecallAtK]
)
def test_a_past_of_other_species_far_away_changes_little(loss: type[nn.Module]) -> None:
    """No image is compared with itself: it would be the nearest positive there is, and the past opens that door."""
    alone, with_past = MetricLoss(loss, 3, 8), MetricLoss(loss, 3, 8, memory=20)
    batch = batches(1)[0].abs()
    with_past(-batch, LABELS + 3)
    torch.testing.assert_close(with_past(batch, LABELS), alone(batch, LABELS), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("miner", [None, miners.MultiSimilarityMiner(), miners.TripletMarginMiner(0.2)])
def test_a_run_that_stops_goes_on_as_it_would_have(miner: nn.Module | None) -> None:
    whole, first = (MetricLoss(losses.MultiSimilarityLoss, 3, 8, miner=miner, memory=15) for _ in range(2))
    steps = batches(8)
    wanted = [whole(step, LABELS) for step in steps]
    found = [first(step, LABELS) for step in steps[:4]]
    resumed = MetricLoss(losses.MultiSimilarityLoss, 3, 8, miner=miner, memory=15)
    resumed.load_state_dict(first.state_dict())
    found += [resumed(step, LABELS) for step in steps[4:]]
    assert torch.equal(torch.stack(found), torch.stack(wanted))
    assert all(torch.equal(*pair) for pair in zip(resumed.buffers(), whole.buffers(), strict=True))


def test_two_batches_before_one_step_of_the_optimizer() -> None:
    """Accumulated gradients: writing the second batch must not change what the first one's gradient needs."""
    metric_loss = MetricLoss(losses.SupConLoss, 3, 8, memory=6)
    steps = batches(3).requires_grad_()
    torch.stack([metric_loss(step, LABELS) for step in steps]).sum().backward()
    assert steps.grad is not None and steps.grad.abs().sum(dim=(1, 2)).min() > 0


def test_only_training_writes() -> None:
    metric_loss = MetricLoss(losses.SupConLoss, 3, 8, memory=6).eval()
    metric_loss(batches(1)[0], LABELS)
    assert int(metric_loss.get_buffer("memory.written")) == 0


def test_a_batch_of_single_images_can_find_its_species_in_the_past() -> None:
    metric_loss = MetricLoss(losses.ContrastiveLoss, 6, 8, memory=6)
    metric_loss(batches(1)[0], LABELS)
    assert metric_loss(batches(1, seed=1)[0], torch.tensor([0, 3, 4, 5, 6, 7])) > 0
    with pytest.raises(ConfigError, match="each once"):
        MetricLoss(losses.ContrastiveLoss, 6, 8, memory=6)(batches(1)[0], torch.arange(6))


@pytest.mark.parametrize(
    ("loss", "miner", "size", "found"),
    [
        (losses.ArcFaceLoss, None, 8, "memory=8, but ArcFaceLoss compares images with class vectors"),
        (losses.ProxyAnchorLoss, None, 8, "memory=8, but ProxyAnchorLoss compares images with class vectors"),
        (losses.FastAPLoss, None, 8, "memory=8, but FastAPLoss compares images within a batch only"),
        (losses.SupConLoss, miners.BatchEasyHardMiner(), 8, "cannot be combined with BatchEasyHardMiner"),
        (losses.SupConLoss, None, -1, "must be a number of embeddings, 0 for none; found -1"),
    ],
)
def test_what_cannot_use_a_memory_says_so(
    loss: type[nn.Module], miner: nn.Module | None, size: int, found: str
) -> None:
    with pytest.raises(ConfigError, match=found):
        MetricLoss(loss, 3, 8, miner=miner, memory=size)


def test_without_a_memory_nothing_is_kept() -> None:
    assert not MetricLoss(losses.SupConLoss, 3, 8).state_dict()
