"""Recall@k and average precision with gradients, against loops that count."""

import math
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses import RecallAtK, SmoothAP

LABELS = torch.tensor([2, 0, 1, 0, 2, 2, 1, 0, 2, 5])  # mixed, unequal, and one species with a single image


def embeddings(count: int = 10, seed: int = 0) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -500 else 0.0


def anchors(found: Tensor) -> list[tuple[list[float], list[int], list[int]]]:
    """Of each anchor that has positives: similarities to all, its positives, and all others."""
    similarity = nn.functional.normalize(found) @ nn.functional.normalize(found).T
    every = []
    for row, label in enumerate(LABELS):
        others = [other for other in range(len(LABELS)) if other != row]
        positives = [other for other in others if LABELS[other] == label]
        if positives:
            every.append((similarity[row].tolist(), positives, others))
    return every


def smooth_rank(scores: list[float], image: int, among: list[int], temperature: float) -> float:
    return 1 + sum(sigmoid((scores[z] - scores[image]) / temperature) for z in among if z != image)


def recall_by_hand(found: Tensor, ks: tuple[int, ...], tau_1: float, tau_2: float) -> float:
    total, every = 0.0, anchors(found)
    for k in ks:
        for scores, positives, others in every:
            hits = sum(sigmoid((k + 0.5 - smooth_rank(scores, x, others, tau_2)) / tau_1) for x in positives)
            most = min(k, len(positives))
            total += min(hits, most) / most
    return 1 - total / len(every) / len(ks)


def precision_by_hand(found: Tensor, temperature: float) -> float:
    every = anchors(found)
    total = 0.0
    for scores, positives, others in every:
        ranks = [(smooth_rank(scores, x, group, temperature)) for x in positives for group in (positives, others)]
        total += sum(ranks[0::2][i] / ranks[1::2][i] for i in range(len(positives))) / len(positives)
    return 1 - total / len(every)


def true_recall(found: Tensor, k: int) -> float:
    recalls = []
    for scores, positives, others in anchors(found):
        first = sorted(others, key=lambda other: -scores[other])[:k]
        recalls.append(len(set(first) & set(positives)) / min(k, len(positives)))
    return sum(recalls) / len(recalls)


def true_precision(found: Tensor) -> float:
    precisions = []
    for scores, positives, others in anchors(found):
        order = sorted(others, key=lambda other: -scores[other])
        places = sorted(order.index(positive) + 1 for positive in positives)
        precisions.append(sum(hits / place for hits, place in enumerate(places, start=1)) / len(places))
    return sum(precisions) / len(precisions)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("ks", "tau_1", "tau_2"), [((1, 2, 4), 1.0, 0.1), ((1,), 0.3, 0.01), ((8, 16), 2.0, 0.5)])
def test_recall_is_what_the_formula_says(ks: tuple[int, ...], tau_1: float, tau_2: float, seed: int) -> None:
    found = RecallAtK(ks, tau_1, tau_2)(embeddings(seed=seed), LABELS)
    assert found.item() == pytest.approx(recall_by_hand(embeddings(seed=seed), ks, tau_1, tau_2), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.01, 0.2])
def test_average_precision_is_what_the_formula_says(temperature: float, seed: int) -> None:
    found = SmoothAP(temperature)(embeddings(seed=seed), LABELS)
    assert found.item() == pytest.approx(precision_by_hand(embeddings(seed=seed), temperature), abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_recall_becomes_the_true_one(k: int) -> None:
    away = [
        abs(
            RecallAtK((k,), temperature, temperature / 100)(embeddings(), LABELS).item()
            - 1
            + true_recall(embeddings(), k)
        )
        for temperature in (1.0, 0.1, 0.01)
    ]
    assert away[2] < 1e-3
    assert away[2] < away[0]


def test_average_precision_becomes_the_true_one() -> None:
    assert SmoothAP(1e-5)(embeddings(), LABELS).item() == pytest.approx(1 - true_precision(embeddings()), abs=1e-6)


@pytest.mark.parametrize("loss", [RecallAtK((1, 2, 4), 1.0, 0.2), SmoothAP(0.2)])
def test_gradients_are_those_of_the_formula(loss: nn.Module) -> None:
    assert torch.autograd.gradcheck(lambda batch: loss(batch, LABELS), embeddings().requires_grad_())


def test_average_precision_is_the_packages_where_that_one_is_right() -> None:
    """The package counts the anchor as its own first positive and needs as many species as images of each."""
    labels = torch.arange(3).repeat_interleave(3)
    batch = embeddings(9)
    theirs = losses.SmoothAPLoss(temperature=0.1)(batch.float(), labels)
    similarity = nn.functional.normalize(batch) @ nn.functional.normalize(batch).T
    total = 0.0
    for row in range(9):
        group = [other for other in range(9) if labels[other] == labels[row]]
        scores = similarity[row].tolist()
        for x in group:
            total += smooth_rank(scores, x, group, 0.1) / smooth_rank(scores, x, list(range(9)), 0.1) / 3 / 9
    assert theirs.item() == pytest.approx(1 - total, abs=1e-5)


def test_separate_species_are_perfect_here_and_not_in_the_package() -> None:
    labels = torch.arange(16).repeat_interleave(4)
    noise = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    batch = torch.eye(16)[labels] + 1e-3 * noise
    assert SmoothAP()(batch, labels).item() == pytest.approx(0, abs=1e-5)
    assert losses.SmoothAPLoss()(batch, labels).item() == pytest.approx(0.52, abs=0.01)


@pytest.mark.parametrize("make", [RecallAtK, SmoothAP])
def test_only_what_a_miner_picked_is_ranked(make: Callable[[], nn.Module]) -> None:
    """Leaving out an image altogether is the same as a batch without it."""
    kept = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 9])
    same = LABELS[:, None] == LABELS[None]
    inside = torch.isin(torch.arange(10), kept)
    allowed = inside[:, None] & inside[None]
    pairs = (*torch.where(same & allowed & ~torch.eye(10, dtype=torch.bool)), *torch.where(~same & allowed))
    torch.testing.assert_close(make()(embeddings(), LABELS, pairs), make()(embeddings()[kept], LABELS[kept]))


@pytest.mark.parametrize("make", [RecallAtK, SmoothAP])
def test_triplets_count_each_pair_once(make: Callable[[], nn.Module]) -> None:
    same = (LABELS[:, None] == LABELS[None]) & ~torch.eye(10, dtype=torch.bool)
    different = LABELS[:, None] != LABELS[None]
    triplets = torch.where(same[:, :, None] & different[:, None, :])
    torch.testing.assert_close(make()(embeddings(), LABELS, triplets), make()(embeddings(), LABELS))


@pytest.mark.parametrize("loss", [RecallAtK((1,), 0.01), SmoothAP()])
def test_a_reference_is_ranked_instead_of_the_batch(loss: nn.Module) -> None:
    """Two anchors in a gallery of three; all of it counts, the image that is the anchor's very copy too."""
    batch, gallery = torch.eye(3)[:2], torch.eye(3)
    assert loss(batch, torch.tensor([0, 1]), None, gallery, torch.tensor([0, 1, 2])).item() == pytest.approx(
        0, abs=1e-5
    )
    behind = loss(batch, torch.tensor([0, 1]), None, gallery, torch.tensor([1, 0, 2])).item()
    assert behind == pytest.approx(0.6 if isinstance(loss, SmoothAP) else 1, abs=1e-5)


@pytest.mark.parametrize("make", [RecallAtK, SmoothAP])
def test_without_positives_there_is_nothing_to_learn(make: Callable[[], nn.Module]) -> None:
    batch = embeddings().requires_grad_()
    found = make()(batch, torch.arange(10))
    found.backward()
    assert found == 0
    assert batch.grad is not None and not batch.grad.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecallAtK(ks=()), r"at least one k, each 1 or more; found ks=\[\]"),
        (lambda: RecallAtK(ks=(0, 1)), r"found ks=\[0, 1\]"),
        (lambda: RecallAtK(rank_temperature=0.0), "above 0; found rank_temperature=0.0"),
        (lambda: RecallAtK(similarity_temperature=-1.0), "similarity_temperature=-1.0"),
        (lambda: SmoothAP(0.0), "above 0; found 0.0"),
    ],
)
def test_what_is_out_of_range_is_told(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
