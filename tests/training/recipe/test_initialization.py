"""What a run starts from: a whitened head is fitted, unless it comes from the weights of another run."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ContrastiveLoss
from rich.console import Console

from conspecific.models import build_embedder
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.recipe.initialization import init_from_data, needs_training_images
from conspecific.types import EmbeddingSet


@pytest.mark.parametrize(
    ("pretrained", "fitted", "told"),
    [
        (None, True, ""),
        (True, False, "The backbone comes from model.weights; pooling and head come from there too.\n"),
        (False, True, "The backbone comes from model.weights; pooling and head do not, because it holds others.\n"),
    ],
)
def test_a_head_from_other_weights_is_not_fitted_again(pretrained: bool | None, fitted: bool, told: str) -> None:
    embedder = build_embedder("test_resnet", "none", "avg", "whitened", dimensions=4)
    embedder.pretrained_head = pretrained
    module = FineTuner(embedder, ContrastiveLoss(), 2)
    pooled = np.random.default_rng(0).normal(size=(8, embedder.backbone.channels)).astype(np.float32)
    found = EmbeddingSet(pooled, np.arange(8), np.repeat([0, 1], 4))
    output = io.StringIO()
    evaluator: Any = SimpleNamespace(console=Console(file=output), embed_training=lambda *_: found)
    before = embedder.head.weight.clone()
    assert needs_training_images(module) == fitted
    init_from_data(module, evaluator)
    assert torch.equal(embedder.head.weight, before) != fitted
    assert output.getvalue() == told
