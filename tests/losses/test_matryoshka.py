"""The mean of a loss over beginnings of an embedding."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses import Matryoshka, MetricLoss

LABELS = torch.arange(4).repeat(6)


def maker(loss: Callable[..., nn.Module], **arguments: object) -> Callable[[int], MetricLoss]:
    return lambda length: MetricLoss(loss, num_classes=4, embedding_size=length, **arguments)  # type: ignore[arg-type]


def embeddings(length: int = 8) -> Tensor:
    return torch.randn(24, length, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "loss", [losses.SupConLoss, losses.ArcFaceLoss, partial(losses.ContrastiveLoss, neg_margin=0.5)]
)
def test_it_is_the_mean_of_the_losses_by_hand(loss: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    matryoshka = Matryoshka(maker(loss), [8, 4, 2])
    torch.manual_seed(0)
    alone = [maker(loss)(length) for length in (8, 4, 2)]
    wanted = sum(one(embeddings()[:, :length], LABELS) for one, length in zip(alone, (8, 4, 2), strict=True)) / 3
    torch.testing.assert_close(matryoshka(embeddings(), LABELS), wanted)


def nearest_is_right(found: Tensor) -> float:
    similarity = nn.functional.normalize(found) @ nn.functional.normalize(found).T
    return float((LABELS[similarity.fill_diagonal_(-2).argmax(dim=1)] == LABELS).float().mean())


def test_the_shortest_beginning_is_trained() -> None:
    """Trained whole, two of sixteen components alone need not tell species apart; trained as a beginning, they do."""
    inputs = torch.eye(16)[LABELS] + 0.3 * embeddings(16)

    def trained(loss: nn.Module) -> Tensor:
        torch.manual_seed(1)
        embedder = nn.Linear(16, 16, bias=False)
        optimizer = torch.optim.Adam(embedder.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            loss(embedder(inputs), LABELS).backward()
            optimizer.step()
        return embedder(inputs).detach()

    nested = trained(Matryoshka(maker(losses.SupConLoss), [16, 2]))
    plain = trained(maker(losses.SupConLoss)(16))
    assert nearest_is_right(nested) > 0.95
    assert nearest_is_right(nested[:, :2]) > max(0.9, nearest_is_right(plain[:, :2]))


def test_vectors_of_each_length_are_imprinted() -> None:
    matryoshka = Matryoshka(maker(losses.ArcFaceLoss, imprinted=True), [8, 4])
    assert matryoshka.imprinted
    means = embeddings()[:4]
    matryoshka.imprint(means)
    for length, weights in zip((8, 4), matryoshka.parameters(), strict=True):
        cut = means[:, :length]
        similarity = torch.cosine_similarity(weights.T, cut - cut.mean(dim=0))
        torch.testing.assert_close(similarity, torch.ones(4))


def test_what_keeps_no_vectors_is_not_imprinted() -> None:
    assert not Matryoshka(maker(losses.SupConLoss), [8, 4]).imprinted


def test_each_length_has_a_memory_of_its_own() -> None:
    matryoshka = Matryoshka(maker(losses.SupConLoss, memory=30), [8, 4])
    matryoshka(embeddings(), LABELS)
    shapes = [tuple(buffer.shape) for name, buffer in matryoshka.named_buffers() if name.endswith("embeddings")]
    assert shapes == [(30, 8), (30, 4)]


@pytest.mark.parametrize(("dimensions", "found"), [([], r"\[\]"), ([0, 4], r"\[0, 4\]"), ([4, 4], r"\[4, 4\]")])
def test_dimensions_that_make_no_sense_are_told(dimensions: list[int], found: str) -> None:
    with pytest.raises(ConfigError, match=f"needs one or more dimensions above 0, each once; found {found}"):
        Matryoshka(maker(losses.SupConLoss), dimensions)


def test_an_embedding_that_is_too_short_is_told() -> None:
    with pytest.raises(ConfigError, match="the loss needs 16 dimensions, and an embedding has 8"):
        Matryoshka(maker(losses.SupConLoss), [16, 4])(embeddings(), LABELS)
