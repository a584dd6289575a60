"""The training step."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss, TripletMarginLoss
from torch import Tensor, nn

from conspecific.config.schema import RecipeConfig
from conspecific.errors import ConfigError, ConspecificError
from conspecific.losses import MetricLoss, similarity_distillation
from conspecific.models import Embedder, build_embedder
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.optimizers import GroupedOptimizer


class Means(nn.Module):
    """Stands in for an embedder: an image's mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Identity()

    def project_features(self, features: Tensor) -> Tensor:
        return features.float().mean(dim=(2, 3))


class Heard(nn.Module):
    """A loss that keeps the labels it was given and returns what it is told to."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer, self.labels = answer, torch.empty(0)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.labels = labels
        return embeddings.sum() * 0 + self.answer


def tuner(loss: nn.Module, labels: list[int], monkeypatch: pytest.MonkeyPatch) -> FineTuner:
    module = FineTuner(Means(), loss, SimpleNamespace(), np.array(labels))  # type: ignore[arg-type]
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(FineTuner, "global_step", 17)
    return module


def batch(labels: list[int]) -> dict[str, Tensor]:
    return {
        "image": torch.full((len(labels), 3, 4, 4), 7, dtype=torch.uint8),
        "label": torch.tensor(labels),
        "index": torch.arange(len(labels)),
    }


def test_the_loss_sees_the_training_species_numbered_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `unseen`, species 2, 5 and 9 of the manifest may be all that is trained on."""
    loss = Heard(1.0)
    tuner(loss, [5, 2, 9, 9, 2], monkeypatch).training_step(batch([9, 2, 5, 9]), 0)  # type: ignore[arg-type]
    assert loss.labels.tolist() == [2, 0, 1, 2]
    assert loss.labels.dtype == torch.int64


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_advice(answer: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tuner(Heard(answer), [0, 1], monkeypatch)
    with pytest.raises(ConspecificError, match=rf"the loss became {answer} at step 17\. Lower optimizer.backbone_lr"):
        module.training_step(batch([0, 1]), 0)  # type: ignore[arg-type]


def test_a_finite_loss_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    module = tuner(Heard(2.5), [0, 1], monkeypatch)
    assert module.training_step(batch([0, 1]), 0).item() == 2.5  # type: ignore[arg-type]


# --- ways to train

IMAGES = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1])


def embedder_of(**options: Any) -> Embedder:
    torch.manual_seed(0)
    return build_embedder("resnet18", "none", **{"head": "linear", "dimensions": 4, "trainable_stages": 1, **options})


def real(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, recipe: RecipeConfig, teacher_embeddings: Tensor | None = None
) -> FineTuner:
    torch.manual_seed(1)
    loss = MetricLoss(ArcFaceLoss, 2, embedder.loss_dimensions(64))
    optimizer = GroupedOptimizer(torch.optim.SGD, 0.1, 0.2, 0.3, 0.0, 0.0)
    module = FineTuner(embedder, loss, optimizer, np.array([0, 1]), recipe, teacher_embeddings)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    return module


def step(module: FineTuner, **batch: Tensor) -> tuple[float, dict[str, Tensor]]:
    """The loss of a batch and what it would have each weight do."""
    module.zero_grad()
    loss = module.training_step({"label": LABELS, "index": torch.tensor([7, 2, 5, 0]), **batch}, 0)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[no-untyped-call]
    named = module.embedder.named_parameters()
    return loss.item(), {name: each.grad.clone() for name, each in named if each.grad is not None}


@pytest.mark.parametrize("stages", [0, 1])
def test_a_step_from_kept_activations_is_the_step_from_images(stages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = real(embedder_of(trainable_stages=stages), monkeypatch, RecipeConfig())
    with torch.no_grad():
        activations = module.embedder.backbone.activations(IMAGES)
    loss, gradients = step(module, image=IMAGES)
    from_kept, found = step(module, activations=activations)
    assert from_kept == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(found, gradients, rtol=1e-3, atol=1e-6)
    assert {name.partition(".")[0] for name in found} == ({"backbone", "head"} if stages else {"head"})
    in_half = step(module, activations=activations.half())[0]
    assert in_half == pytest.approx(loss, rel=1e-2)


def test_the_backbone_has_no_gradients_in_epochs_of_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    module = real(embedder_of(pooling="gem"), monkeypatch, RecipeConfig(head_epochs=2))
    learnt = []
    for epoch in range(3):
        monkeypatch.setattr(FineTuner, "current_epoch", epoch)
        learnt.append({name.partition(".")[0] for name in step(module, image=IMAGES)[1]})
    assert learnt == [{"head", "pooling"}, {"head", "pooling"}, {"head", "pooling", "backbone"}]


def test_epochs_of_a_head_need_something_above_the_backbone() -> None:
    recipe, rates = RecipeConfig(head_epochs=1), GroupedOptimizer(torch.optim.SGD, 0.1, 0.2, 0.3, 0.0, 0.0)
    bare, pairs = embedder_of(head="none"), MetricLoss(TripletMarginLoss, 2, 512)
    with pytest.raises(ConfigError, match=r"recipe\.head_epochs=1 trains what lies above .* set model\.head=linear"):
        FineTuner(bare, pairs, rates, np.array([0, 1]), recipe)
    for embedder, loss in (
        (embedder_of(), pairs),
        (embedder_of(head="none", pooling="gem"), pairs),
        (bare, MetricLoss(ArcFaceLoss, 2, 512)),
    ):
        FineTuner(embedder, loss, rates, np.array([0, 1]), recipe)


def test_a_teacher_weighs_as_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image has its teacher embedding by its sample id; a teacher that sees all alike asks for another loss than a
    just one."""
    teacher_embeddings = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    module = real(embedder_of(), monkeypatch, RecipeConfig(distillation=2.0), teacher_embeddings)
    plain = step(real(embedder_of(), monkeypatch, RecipeConfig()), image=IMAGES)[0]
    with torch.no_grad():
        asked = similarity_distillation(module.embedder.project(IMAGES), teacher_embeddings[[7, 2, 5, 0]]).item()
    assert asked > 0
    loss, gradients = step(module, image=IMAGES)
    assert loss == pytest.approx(plain + 2 * asked, rel=1e-5)
    assert gradients
    assert "taught" not in module.state_dict(), "a checkpoint does not grow by it"
