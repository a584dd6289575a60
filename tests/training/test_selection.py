"""What is tried once training is over."""

from typing import Any

import pytest
import torch
from rich.console import Console

from conspecific.models import Embedder, build_embedder
from conspecific.training import selection
from conspecific.types import EvalResult


class Judge:
    """An evaluator that scores the head's first bias."""

    def __init__(self) -> None:
        self.console = Console(quiet=True)

    def score(self, embedders: dict[str, Embedder], part: str, title: str) -> dict[str, EvalResult]:
        assert part == "val", "the test is not looked at"
        metrics = {"map@r": embedders["model"].head.bias[0].item()}  # type: ignore[index,union-attr]
        return {"model": EvalResult(metrics, metrics, None, {})}  # type: ignore[arg-type]


@pytest.fixture
def trained() -> tuple[Embedder, dict[str, torch.Tensor]]:
    """An embedder, and its weights from before a training that took its biases from 0 to 1."""
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=3, trainable_stages=1)
    torch.nn.init.zeros_(embedder.head.bias)  # type: ignore[arg-type]
    start = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    torch.nn.init.ones_(embedder.head.bias)  # type: ignore[arg-type]
    return embedder, start


def test_shares_of_the_way_lie_on_it(trained: Any) -> None:
    embedder, start = trained
    tried = selection._on_the_way(embedder, start, 7, [0.25, 0.75], Judge())  # type: ignore[arg-type]
    assert [found.share for found in tried] == [0.25, 0.75]
    assert [found.validation.metrics["map@r"] for found in tried] == pytest.approx([0.25, 0.75])
    assert [found.embedder.head.bias.tolist() for found in tried] == [[0.25] * 3, [0.75] * 3]
    assert all(found.embedder.backbone.is_cut and found.validation.facts["epoch"] == 7 for found in tried)
    assert embedder.head.bias.tolist() == [1.0] * 3, "what was trained stays as it was"
    assert start["head.bias"].tolist() == [0.0] * 3
