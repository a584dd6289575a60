"""Losses of pytorch-metric-learning behind one face."""

from collections.abc import Iterable
from functools import partial

import pytest
import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses import MetricLoss, RecallAtK, SmoothAP

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


def vectors_of(loss: MetricLoss, classes: int) -> Tensor:
    """[C, K, D], whatever way round the loss keeps them."""
    [weights] = loss.parameters()
    rows = weights if isinstance(loss.loss, (losses.ProxyAnchorLoss, losses.ProxyNCALoss)) else weights.T
    return rows.detach().view(classes, -1, rows.shape[1])


@pytest.mark.parametrize("classes", [3, 8, 16])  # 8: as many as dimensions; 8 and 16 leave room for doubt
@pytest.mark.parametrize(
    ("loss", "each"),
    [
        (losses.ArcFaceLoss, 1),
        (losses.CosFaceLoss, 1),
        (losses.NormalizedSoftmaxLoss, 1),
        (losses.ProxyAnchorLoss, 1),
        (losses.ProxyNCALoss, 1),
        (partial(losses.SubCenterArcFaceLoss, sub_centers=2), 2),
        (partial(losses.SoftTripleLoss, centers_per_class=4), 4),
    ],
)
def test_imprinted_vectors_point_at_the_mean_of_their_species(loss: type[nn.Module], each: int, classes: int) -> None:
    metric_loss = MetricLoss(loss, num_classes=classes, embedding_size=8, imprinted=True)
    means = torch.randn(classes, 8, generator=torch.Generator().manual_seed(1))
    metric_loss.imprint(means)
    vectors = vectors_of(metric_loss, classes)
    assert vectors.shape == (classes, each, 8)
    torch.testing.assert_close(vectors.norm(dim=2), torch.full((classes, each), 8**0.5))
    wanted = torch.nn.functional.normalize(means - means.mean(dim=0))
    similarity = torch.einsum("cd,ckd->ck", wanted, vectors) / 8**0.5
    assert similarity.min() > (1 - 1e-6 if each == 1 else 0.97)
    assert all(parameter.requires_grad for parameter in metric_loss.parameters())


def test_a_square_of_vectors_is_the_right_way_round_where_a_species_has_several() -> None:
    loss = MetricLoss(partial(losses.SubCenterArcFaceLoss, sub_centers=2), num_classes=4, embedding_size=8)
    means = torch.eye(8)[:4]
    loss.imprint(means)
    assert loss.loss.W.shape == (8, 8)
    logits = loss.loss.get_logits(means - means.mean(dim=0))
    assert logits.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_several_vectors_of_a_species_differ_and_are_the_same_in_every_run() -> None:
    imprinted = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        loss = MetricLoss(partial(losses.SoftTripleLoss, centers_per_class=3), num_classes=3, embedding_size=8)
        state = torch.get_rng_state()
        loss.imprint(embeddings()[:3])
        assert torch.equal(state, torch.get_rng_state())
        imprinted.append(vectors_of(loss, 3))
    assert torch.equal(*imprinted)
    apart = torch.cdist(imprinted[0], imprinted[0]) + torch.eye(3)
    assert apart.min() > 0.1


def test_to_look_for_the_vectors_draws_no_numbers() -> None:
    """A square matrix is told by building a small loss: what is drawn afterwards must not depend on it."""
    drawn = []
    for make in (lambda: MetricLoss(losses.ArcFaceLoss, 8, 8), lambda: losses.ArcFaceLoss(8, 8)):
        torch.manual_seed(0)
        make()
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("loss", [losses.TripletMarginLoss, partial(losses.MarginLoss, learn_beta=True)])
def test_losses_without_vectors_of_the_species_cannot_be_imprinted(loss: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"loss\.imprinted=true, but \w+Loss has no class vectors"):
        MetricLoss(loss, 3, 8, imprinted=True).imprint(embeddings()[:3])


# --- batches that do not fit


@pytest.mark.parametrize("loss", [losses.TripletMarginLoss, losses.SupConLoss, losses.FastAPLoss, SmoothAP, RecallAtK])
@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (range(6), r"has 6 species, each once: set loader\.samples_per_class to 2"),
        ([4] * 6, r"a batch of 6 images has one: set loader\.classes_per_batch to 2"),
    ],
)
def test_a_batch_without_a_pair_is_told(loss: type[nn.Module], labels: Iterable[int], found: str) -> None:
    metric_loss = MetricLoss(loss, num_classes=6, embedding_size=8)
    with pytest.raises(ConfigError, match=found):
        metric_loss(embeddings(), torch.tensor(list(labels)))


@pytest.mark.parametrize("loss", [losses.ArcFaceLoss, losses.ProxyAnchorLoss, losses.SoftTripleLoss])
def test_vectors_of_the_species_need_no_pairs(loss: type[nn.Module]) -> None:
    metric_loss = MetricLoss(loss, num_classes=6, embedding_size=8)
    assert torch.isfinite(metric_loss(embeddings(), torch.arange(6)))


def test_half_precision_and_autocast_do_not_reach_the_loss() -> None:
    metric_loss = MetricLoss(RecallAtK, 3, 8)
    batch = embeddings().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = metric_loss(batch, LABELS)
    assert torch.equal(found, metric_loss(batch.float(), LABELS))
