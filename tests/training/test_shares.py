"""Weights between those before training and those after it."""

from typing import Any

import pytest
import torch
from rich.console import Console

from conspecific.models import Embedder, build_embedder
from conspecific.training.shares import best_share
from conspecific.types import EvalResult


class Judge:
    """An evaluator whose score falls with the distance of the head's first bias from what it likes best."""

    def __init__(self, likes: float) -> None:
        self.likes, self.console = likes, Console(quiet=True)
        self.seen: list[float] = []

    def score(self, embedders: dict[str, Embedder], part: str, title: str) -> dict[str, EvalResult]:
        assert part == "val", "the test is not looked at"
        bias = embedders["model"].head.bias[0].item()  # type: ignore[index,union-attr]
        self.seen.append(bias)
        metrics = {"map@r": 1 - abs(bias - self.likes)}
        return {"model": EvalResult(metrics, metrics, None, {})}  # type: ignore[arg-type]


@pytest.fixture
def trained() -> tuple[Embedder, dict[str, torch.Tensor]]:
    """An embedder, and its weights from before a training that took its biases from 0 to 1."""
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=3, trainable_stages=1)
    torch.nn.init.zeros_(embedder.head.bias)  # type: ignore[arg-type]
    start = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    torch.nn.init.ones_(embedder.head.bias)  # type: ignore[arg-type]
    return embedder, start


@pytest.mark.parametrize(("likes", "share"), [(0.0, 0.25), (0.45, 0.5), (0.9, 0.75)])
def test_validation_chooses_how_far_to_go(likes: float, share: float, trained: Any) -> None:
    judge, (embedder, start) = Judge(likes), trained
    found, result, mixed = best_share(embedder, start, [0.25, 0.5, 0.75], judge, "map@r")  # type: ignore[arg-type]
    assert judge.seen == pytest.approx([0.25, 0.5, 0.75])
    assert found == share
    assert result.metrics["map@r"] == pytest.approx(1 - abs(share - likes))
    assert mixed.head.bias.tolist() == pytest.approx([share] * 3)
    assert mixed.backbone.is_cut


def test_what_was_trained_stays_as_it_was(trained: Any) -> None:
    embedder, start = trained
    best_share(embedder, start, [0.5], Judge(0.0), "map@r")  # type: ignore[arg-type]
    assert embedder.head.bias.tolist() == [1.0] * 3
    assert start["head.bias"].tolist() == [0.0] * 3
