"""Every loss and every miner that can be configured is built and trained, and stands in docs/losses.md."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from conspecific.config.compose import compose_config, typed
from conspecific.config.location import config_dir, options
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.losses import MetricLoss

LOSSES, MINERS = options("loss"), options("loss/miner")
DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "losses.md").read_text()
SPECIES, PICTURES, INPUTS, DIMENSIONS = 6, 4, 16, 8


def text(name: str) -> str:
    return (config_dir() / "loss" / f"{name}.yaml").read_text()


WITH_VECTORS = [name for name in LOSSES if "\nimprinted: " in text(name)]
WITH_MEMORY = [name for name in LOSSES if "\nmemory: " in text(name)]


def configured(*overrides: str) -> MetricLoss:
    torch.manual_seed(0)
    config = typed(compose_config("train", overrides), TrainConfig)
    loss: MetricLoss = build(config.loss, "loss", num_classes=SPECIES, embedding_size=DIMENSIONS)
    return loss


def images() -> tuple[Tensor, Tensor]:
    """Clusters that a line can part, under noise that hides them at first."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(SPECIES).repeat(PICTURES)
    signal = torch.eye(INPUTS)[:, :SPECIES][:, labels].T * 2
    noise = torch.randn(len(labels), INPUTS, generator=generator)
    noise[:, :SPECIES] *= 0.2
    return signal + noise, labels


def trained(loss: MetricLoss, steps: int = 30) -> tuple[float, float]:
    """Train a linear embedder with the loss. Returns the loss before and after; holds that gradients reach all."""
    embedder = nn.Linear(INPUTS, DIMENSIONS, bias=False)
    inputs, labels = images()
    if loss.imprinted:
        means = torch.stack([embedder(inputs[labels == number]).mean(dim=0) for number in range(SPECIES)])
        loss.imprint(means.detach())
    optimizer = torch.optim.Adam([*embedder.parameters(), *loss.parameters()], lr=0.02)
    values, reached = [], []
    for _ in range(steps):
        embeddings = embedder(inputs)
        embeddings.retain_grad()
        value = loss(embeddings, labels)
        assert value.shape == () and torch.isfinite(value)
        optimizer.zero_grad()
        value.backward()
        gradients = [tensor.grad for tensor in (embeddings, *loss.parameters())]
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
        reached.append([gradient.abs().sum().item() for gradient in gradients if gradient is not None])
        optimizer.step()
        values.append(value.item())
    assert all(map(any, zip(*reached, strict=True)))
    return values[0], values[-1]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_learns(name: str) -> None:
    before, after = trained(configured(f"loss={name}"))
    assert -1e-6 < after < 0.9 * before


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_losses_with_vectors_learn_from_random_ones_too(name: str) -> None:
    before, after = trained(configured(f"loss={name}", "loss.imprinted=false"))
    assert -1e-6 < after < 0.9 * before


@pytest.mark.parametrize("name", LOSSES)
def test_vectors_are_imprinted_wherever_there_are_any(name: str) -> None:
    loss = configured(f"loss={name}")
    assert (loss.vectors is not None) == loss.imprinted == (name in WITH_VECTORS)


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("name", ["triplet", "multi_similarity"])
def test_every_miner_teaches(name: str, miner: str) -> None:
    loss = configured(f"loss={name}", f"loss/miner={miner}")
    assert loss.miner is not None
    before, after = trained(loss)
    assert -1e-6 < after < 0.9 * before


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_losses_that_offer_a_memory_learn_with_one(name: str) -> None:
    loss = configured(f"loss={name}", "loss.memory=40")
    before, after = trained(loss)
    assert loss.memory is not None and loss.memory.labels.min() >= 0
    assert -1e-6 < after < 0.9 * before


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_opens_with_its_paper(name: str) -> None:
    assert re.match(r"# .*\(.*[12]\d{3}\)", text(name))


def rows(table: str) -> dict[str, list[str]]:
    """The cells of a table of the document, by what stands in the first; `table` is the head of that column."""
    lines = DOCUMENT[DOCUMENT.index(f"| `{table}` |") :].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first.strip("`"): others for first, *others in cells}


@pytest.mark.parametrize(("table", "known"), [("loss=", LOSSES), ("loss/miner=", MINERS)])
def test_the_document_has_every_loss_and_every_miner_and_no_other(table: str, known: list[str]) -> None:
    assert sorted(rows(table)) == known


@pytest.mark.parametrize("name", LOSSES)
def test_the_document_says_rightly_who_keeps_vectors(name: str) -> None:
    vectors = configured(f"loss={name}").vectors
    assert rows("loss=")[name][1] == ("no" if vectors is None else "one" if vectors.each == 1 else str(vectors.each))
