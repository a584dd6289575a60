"""The choice among candidates once training is over."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from conspecific.config.schema import RecipeConfig, TrainConfig
from conspecific.models import Embedder, build_embedder
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights
from conspecific.training import selection
from conspecific.types import EvalResult


class BiasScore:
    """An evaluator whose validation metric is a function of the first bias of the head."""

    def __init__(self, best: float) -> None:
        self.best, self.console, self.titles = best, Console(quiet=True), list[str]()

    def score(self, embedders: dict[str, Embedder], subset: str, title: str) -> dict[str, EvalResult]:
        assert subset == "val", "the test split is not looked at"
        self.titles.append(title)
        bias = embedders["model"].head.bias[0].item()  # type: ignore[index,union-attr]
        metrics = {"map@r": -abs(bias - self.best)}
        return {"model": EvalResult(metrics, metrics, None, {})}  # type: ignore[arg-type]


@pytest.mark.parametrize(("best", "epoch", "alpha"), [(5.0, 1, 1.0), (1.0, 2, 1.0), (0.3, 2, 0.25)])
def test_the_candidate_with_the_best_validation_metric_is_selected(
    best: float, epoch: int, alpha: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bias 0 before training, 5 in epoch 1 and 1 in epoch 2; the interpolations have 0.25 and 0.75."""
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=3, trainable_stages=1)
    torch.nn.init.zeros_(embedder.head.bias)  # type: ignore[arg-type]
    run, module = RunDirectory(tmp_path), SimpleNamespace(embedder=embedder, eval_embedder=embedder)
    run.start.parent.mkdir(parents=True, exist_ok=True)
    save_weights(embedder, run.start)
    torch.nn.init.ones_(embedder.head.bias)  # type: ignore[arg-type]

    def load(module: Any, path: Path) -> dict[str, int]:
        torch.nn.init.constant_(module.embedder.head.bias, 5.0)
        return {"epoch": 0}

    monkeypatch.setattr(selection, "load_checkpoint", load)
    monkeypatch.setattr(selection, "read_epochs", lambda run: [SimpleNamespace(epoch=1), SimpleNamespace(epoch=2)])
    config, evaluator = TrainConfig(recipe=RecipeConfig(wise_ft_alphas=[0.25, 0.75])), BiasScore(best)
    found = selection.select(module, Path("best.ckpt"), config, evaluator, run)  # type: ignore[arg-type]
    assert found.weights == SelectedWeights(epoch, alpha, whitening_refitted=False)
    assert found.validation.facts["epoch"] == epoch
    assert evaluator.titles[2:] == ["WiSE-FT, alpha 0.25", "WiSE-FT, alpha 0.75"]
