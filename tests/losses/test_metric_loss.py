"""Losses of pytorch-metric-learning behind one face."""

from functools import partial

import pytest
import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses import MetricLoss

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def embeddings(requires_grad: bool = False) -> Tensor:
    drawn = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    return drawn.requires_grad_(requires_grad)


class NoMiner(nn.Module):
    """Finds nothing, and remembers that it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        self.asked += 1
        nothing = torch.empty(0, dtype=torch.int64)
        return nothing, nothing, nothing


@pytest.mark.parametrize(
    "loss",
    [
        losses.ArcFaceLoss,
        losses.CosFaceLoss,
        losses.SubCenterArcFaceLoss,
        losses.NormalizedSoftmaxLoss,
        losses.ProxyAnchorLoss,
        losses.ProxyNCALoss,
        losses.SoftTripleLoss,
    ],
)
def test_vectors_of_the_species_are_parameters_that_get_gradients(loss: type[nn.Module]) -> None:
    metric_loss = MetricLoss(loss, num_classes=3, embedding_size=8)
    parameters = list(metric_loss.parameters())
    assert sum(parameter.numel() for parameter in parameters) % (3 * 8) == 0
    metric_loss(embeddings(), LABELS).backward()
    assert parameters
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in parameters)


@pytest.mark.parametrize(
    "loss",
    [
        losses.TripletMarginLoss,
        losses.ContrastiveLoss,
        losses.MultiSimilarityLoss,
        losses.SupConLoss,
        losses.CircleLoss,
        losses.NTXentLoss,
        partial(losses.TripletMarginLoss, margin=0.3, swap=True),
    ],
)
def test_losses_without_vectors_of_their_own_are_given_no_sizes(loss: type[nn.Module]) -> None:
    metric_loss = MetricLoss(loss, num_classes=3, embedding_size=8)
    assert not list(metric_loss.parameters())
    batch = embeddings(requires_grad=True)
    value = metric_loss(batch, LABELS)
    assert value.shape == ()
    value.backward()
    assert batch.grad is not None
    assert batch.grad.abs().sum() > 0


def test_what_is_not_asked_for_is_not_passed() -> None:
    given: list[dict[str, int]] = []

    def wants_classes(num_classes: int) -> nn.Module:
        given.append({"num_classes": num_classes})
        return losses.SupConLoss()

    def wants_nothing() -> nn.Module:
        given.append({})
        return losses.SupConLoss()

    for loss in (wants_classes, wants_nothing):
        MetricLoss(loss, num_classes=3, embedding_size=8)
    assert given == [{"num_classes": 3}, {}]


def test_arguments_of_a_partial_reach_the_loss() -> None:
    metric_loss = MetricLoss(partial(losses.ArcFaceLoss, margin=10, scale=24), num_classes=3, embedding_size=8)
    assert metric_loss.loss.scale == 24
    assert metric_loss.loss.W.shape == (8, 3)


def test_what_a_miner_picks_is_what_the_loss_looks_at() -> None:
    miner = NoMiner()
    alone = MetricLoss(losses.TripletMarginLoss, 3, 8)
    mined = MetricLoss(losses.TripletMarginLoss, 3, 8, miner=miner)
    assert alone(embeddings(), LABELS) > 0
    assert mined(embeddings(), LABELS) == 0
    assert miner.asked == 1


@pytest.mark.parametrize("miner", [miners.BatchHardMiner, miners.MultiSimilarityMiner, miners.TripletMarginMiner])
def test_miners_of_the_package_fit(miner: type[nn.Module]) -> None:
    triplet = MetricLoss(partial(losses.TripletMarginLoss, margin=0.5), 3, 8, miner=miner())
    assert triplet(embeddings(), LABELS) > 0


def test_weights_of_the_loss_are_in_its_state() -> None:
    assert list(MetricLoss(losses.ArcFaceLoss, 3, 8).state_dict()) == ["loss.W"]


@pytest.mark.parametrize("loss", [losses.ArcFaceLoss, losses.ProxyAnchorLoss])  # one keeps columns, the other rows
def test_imprinted_vectors_point_at_the_mean_of_their_species(loss: type[nn.Module]) -> None:
    metric_loss = MetricLoss(loss, num_classes=3, embedding_size=8, imprinted=True)
    means = embeddings()[:3]
    metric_loss.imprint(means)
    [weights] = metric_loss.parameters()
    vectors = weights.T if loss is losses.ArcFaceLoss else weights
    torch.testing.assert_close(vectors.norm(dim=1), torch.full((3,), 8**0.5))
    similarity = torch.cosine_similarity(vectors[:, None], (means - means.mean(dim=0))[None], dim=2)
    torch.testing.assert_close(similarity.diag(), torch.ones(3))
    assert weights.requires_grad


@pytest.mark.parametrize("loss", [losses.TripletMarginLoss, partial(losses.SubCenterArcFaceLoss, sub_centers=2)])
def test_losses_without_one_vector_a_species_cannot_be_imprinted(loss: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"loss\.imprinted=true, but \w+Loss does not keep one vector a species"):
        MetricLoss(loss, 3, 8, imprinted=True).imprint(embeddings()[:3])
