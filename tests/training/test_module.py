"""The training step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conspecific.errors import ConspecificError
from conspecific.training.module import FineTuner


class Means(nn.Module):
    """Stands in for an embedder: a picture's mean colour."""

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
