"""The training step."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_metric_learning.losses import ArcFaceLoss, TripletMarginLoss
from torch import Tensor, nn
from torch.utils.data import DataLoader

from conspecific.config.schema import RecipeConfig
from conspecific.errors import ConfigError, ConspecificError, DataError
from conspecific.losses import MetricLoss, similarity_distillation
from conspecific.models import Embedder, build_embedder
from conspecific.training.expected_warnings import expected_warnings
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
    module = FineTuner(Means(), loss, np.array(labels), optimizer=SimpleNamespace())  # type: ignore[arg-type]
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
def test_a_loss_that_is_nan_or_inf_stops_with_advice(answer: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tuner(Heard(answer), [0, 1], monkeypatch)
    with pytest.raises(
        ConspecificError, match=rf"the loss became {answer} at step 17, in a batch of the sample ids \[0, 1\]\. Lower"
    ):
        module.training_step(batch([0, 1]), 0)  # type: ignore[arg-type]


def test_a_finite_loss_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    module = tuner(Heard(2.5), [0, 1], monkeypatch)
    assert module.training_step(batch([0, 1]), 0).item() == 2.5  # type: ignore[arg-type]


# --- ways to train

IMAGES = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1])


def embedder_of(**options: Any) -> Embedder:
    torch.manual_seed(0)
    small = {"pooling": "avg", "head": "linear", "dimensions": 4, "trainable_stages": 1}
    return build_embedder("resnet18", "none", **{**small, **options})


def real(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, recipe: RecipeConfig, teacher_embeddings: Tensor | None = None
) -> FineTuner:
    torch.manual_seed(1)
    loss = MetricLoss(ArcFaceLoss, 2, embedder.loss_dimensions(64))
    optimizer = GroupedOptimizer(torch.optim.SGD, 0.1, 0.2, 0.3, 0.0, 0.0)
    module = FineTuner(
        embedder, loss, [0, 1], optimizer=optimizer, recipe=recipe, teacher_embeddings=teacher_embeddings
    )
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
    recipe = RecipeConfig(head_epochs=1)
    bare, pairs = embedder_of(head="none", dimensions=None), MetricLoss(TripletMarginLoss, 2, 512)
    with pytest.raises(
        ConfigError, match=r"recipe\.head_epochs=1 trains pooling, head and loss first, .* set model\.head=linear"
    ):
        FineTuner(bare, pairs, 2, recipe=recipe)
    for embedder, loss in (
        (embedder_of(), pairs),
        (embedder_of(head="none", pooling="gem", dimensions=None), pairs),
        (bare, MetricLoss(ArcFaceLoss, 2, 512)),
    ):
        FineTuner(embedder, loss, 2, recipe=recipe)


def test_the_distillation_loss_is_weighted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image gets its teacher embedding by its sample id."""
    teacher_embeddings = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    module = real(embedder_of(), monkeypatch, RecipeConfig(distillation=2.0), teacher_embeddings)
    plain = step(real(embedder_of(), monkeypatch, RecipeConfig()), image=IMAGES)[0]
    with torch.no_grad():
        asked = similarity_distillation(module.embedder.project(IMAGES), teacher_embeddings[[7, 2, 5, 0]]).item()
    assert asked > 0
    loss, gradients = step(module, image=IMAGES)
    assert loss == pytest.approx(plain + 2 * asked, rel=1e-5)
    assert gradients
    assert "teacher_embeddings" not in module.state_dict(), "a checkpoint does not grow by it"


# --- in Python, without a configuration


def plain(loss: nn.Module, labels: Any = 2, **options: Any) -> FineTuner:
    module = FineTuner(embedder_of(), loss, labels, **options)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    return module


def test_a_plain_loss_trains_from_tuples_as_from_mappings() -> None:
    torch.manual_seed(3)
    module = plain(ArcFaceLoss(num_classes=2, embedding_size=4))
    from_mapping = module.training_step({"image": IMAGES, "label": LABELS}, 0)
    assert torch.equal(module.training_step((IMAGES, LABELS), 0), from_mapping)
    assert torch.equal(module.training_step([IMAGES, LABELS], 0), from_mapping)
    with pytest.raises(DataError, match=r"tuple \(images, labels\); found a mapping with the keys pixels"):
        module.training_step({"pixels": IMAGES}, 0)
    with pytest.raises(DataError, match="found Tensor"):
        module.training_step(IMAGES, 0)


def test_labels_with_gaps_and_a_number_of_classes_give_the_classes() -> None:
    loss = TripletMarginLoss()
    assert plain(loss, [7, 3, 7]).class_of_label.tolist() == [-1, -1, -1, 0, -1, -1, -1, 1]
    assert plain(loss, 3).class_of_label.tolist() == [0, 1, 2]


def test_forward_and_predict_step_give_the_embeddings_that_are_scored() -> None:
    module = plain(TripletMarginLoss(), recipe=RecipeConfig(ema=0.5)).eval()
    with torch.no_grad():
        module.embedder.head.weight.add_(1.0)  # type: ignore[union-attr,operator]
        assert torch.equal(module(IMAGES), module.embedder(IMAGES)), "no step was made yet"
        module.average.update_parameters(module.embedder)  # type: ignore[union-attr]
        module.embedder.head.weight.normal_()  # type: ignore[union-attr,operator]
        embeddings = module(IMAGES)
        assert embeddings.shape == (4, 4)
        assert torch.equal(embeddings, module.eval_embedder(IMAGES))
        assert not torch.equal(embeddings, module.embedder(IMAGES))
        for batch in ({"image": IMAGES, "label": LABELS}, (IMAGES, LABELS), IMAGES):
            assert torch.equal(module.predict_step(batch), embeddings)


def test_distillation_needs_a_teacher() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.distillation=0\.5 needs teacher_embeddings"):
        plain(TripletMarginLoss(), recipe=RecipeConfig(distillation=0.5))


def test_a_fit_in_plain_python_learns_and_predicts() -> None:
    """With the defaults: AdamW, warm-up and cosine, no configuration."""
    module = FineTuner(embedder_of(), ArcFaceLoss(num_classes=2, embedding_size=4), 2)
    before = module.embedder.head.weight.clone()  # type: ignore[union-attr,operator]
    batches = DataLoader(list(zip(IMAGES, LABELS, strict=True)), batch_size=2)
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = pl.Trainer(
        max_epochs=1, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, **options
    )
    with expected_warnings():
        trainer.fit(module, batches)
        [*predicted] = trainer.predict(module, batches)  # type: ignore[misc]
    assert not torch.equal(module.embedder.head.weight, before)  # type: ignore[union-attr]
    torch.testing.assert_close(torch.cat(predicted), module.eval()(IMAGES))  # type: ignore[arg-type]


def test_the_schedule_needs_a_number_of_epochs() -> None:
    module = plain(TripletMarginLoss())
    module.trainer = SimpleNamespace(max_epochs=-1)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"Trainer\(max_epochs=\.\.\.\); found -1"):
        module.configure_optimizers()
