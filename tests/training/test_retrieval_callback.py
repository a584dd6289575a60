"""Retrieval metrics in a plain Trainer, for any module whose forward gives embeddings."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from conspecific.errors import ConfigError, DataError
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.training.score_images import embed_images, score_images
from conspecific.types import EvalResult

COLOURS = torch.eye(3).repeat_interleave(4, 0)  # four images each of red, green and blue
IMAGES = COLOURS[:, :, None, None].expand(12, 3, 8, 8) + 0.1 * torch.rand(
    12, 3, 8, 8, generator=torch.Generator().manual_seed(0)
)
SPECIES = [name for name in ("robin", "wren", "dunnock") for _ in range(4)]


class Colours(pl.LightningModule):
    """Embeds an image as its mean colour, and learns nothing; `scale` is there for the optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.norm, self.dropout = nn.BatchNorm2d(3).eval(), nn.Dropout()
        self.was_training: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.was_training.append(self.dropout.training)
        return self.dropout(images.mean(dim=(2, 3)) * self.scale)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return (self(batch[0]) ** 2).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


class Items(Dataset[dict[str, Any]]):
    """Items as this package's data sets give them, with labels that are numbers."""

    def __init__(self, rows: list[int], labels: list[int]) -> None:
        self.rows, self.labels = rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = self.rows[place]
        return {"image": IMAGES[row], "label": torch.tensor(self.labels[place]), "index": torch.tensor(row)}


def trainer(*callbacks: pl.Callback, epochs: int = 1, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        enable_model_summary=False,
        log_every_n_steps=1,
        **{**quiet, **options},
    )


def fitted(*callbacks: pl.Callback, **options: Any) -> tuple[pl.Trainer, Colours]:
    module, made = Colours(), trainer(*callbacks, **options)
    with expected_warnings():
        made.fit(module, DataLoader(list(zip(IMAGES, range(12), strict=True)), batch_size=6))
    return made, module


def test_two_arrays_are_scored_after_every_epoch() -> None:
    callback = RetrievalCallback((IMAGES, SPECIES), monitor="recall@1", batch_size=5)
    assert callback.result is None
    made, module = fitted(callback, epochs=2)
    result = callback.result
    assert result is not None
    assert result.metrics["recall@1"] == result.metrics["map@r"] == 1.0
    assert set(result.per_query["label"]) == {"robin", "wren", "dunnock"}
    assert float(made.callback_metrics["val/recall@1"]) == 1.0
    assert not [name for name in made.callback_metrics if name.endswith("_gain")]
    assert module.was_training == [True, True, False, False, False] * 2, "embedded in evaluation mode"
    assert module.dropout.training and not module.norm.training, "each part is in its previous mode again"


def test_the_best_result_is_kept_by_the_monitored_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.2, 0.6, 0.4, 0.6])
    scored: list[EvalResult] = []

    def score(module: pl.LightningModule) -> EvalResult:
        scored.append(EvalResult({"mrr": next(values)}, {}, None))  # type: ignore[arg-type]
        return scored[-1]

    reference = EvalResult({"mrr": 0.5}, {}, None)  # type: ignore[arg-type]
    callback = RetrievalCallback(score, monitor="mrr", reference=reference)
    made, _ = fitted(callback, epochs=4)
    assert callback.result is scored[3] and callback.best is scored[1]
    assert float(made.callback_metrics["val/mrr_gain"]) == pytest.approx(0.1)


def test_checkpoints_can_monitor_what_is_logged(tmp_path: Any) -> None:
    kept = pl.callbacks.ModelCheckpoint(tmp_path, monitor="val/map@r", mode="max", save_on_train_epoch_end=True)
    fitted(kept, RetrievalCallback((IMAGES, SPECIES)), enable_checkpointing=True)
    assert float(kept.best_model_score) == 1.0  # type: ignore[arg-type]


def test_the_cut_offs_can_be_chosen() -> None:
    callback = RetrievalCallback((IMAGES, SPECIES), monitor="recall@3", ks=(3,))
    made, _ = fitted(callback)
    assert "val/recall@3" in made.callback_metrics and "val/recall@5" not in made.callback_metrics


def test_a_metric_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"monitor=map@k is not a metric\. Did you mean map@r"):
        fitted(RetrievalCallback((IMAGES, SPECIES), monitor="map@k"))


def module_in_a_trainer(**options: Any) -> Colours:
    module = Colours()
    module.trainer = trainer(**options)
    return module


def test_a_gallery_of_other_images_is_searched() -> None:
    result = score_images(module_in_a_trainer(), (IMAGES[::4], SPECIES[::4]), gallery=(IMAGES, SPECIES))
    assert result.facts["gallery"] == 12
    assert result.per_query["positives"].to_list() == [4, 4, 4], "without an index, no image is known to be the query"


def test_an_image_that_is_query_and_gallery_never_answers_itself() -> None:
    numbers = [0] * 4 + [5] * 4 + [12] * 4
    queries, gallery = Items([0, 4, 8], [0, 5, 12]), Items([*range(12)], numbers)
    result = score_images(module_in_a_trainer(), queries, gallery=gallery)
    assert result.per_query["positives"].to_list() == [3, 3, 3]
    assert result.facts["gallery"] == 12
    assert result.per_query["label"].to_list() == [0, 5, 12]
    alone = score_images(module_in_a_trainer(), gallery)
    assert alone.facts["gallery"] == alone.facts["queries"] == 12


def test_arrays_of_another_length_and_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score_images(module_in_a_trainer(), (IMAGES, SPECIES[:5]))
    with pytest.raises(DataError, match="no images"):
        score_images(module_in_a_trainer(), [])


def test_a_forward_that_gives_no_embeddings_is_refused() -> None:
    module = module_in_a_trainer()
    module.dropout = nn.Unflatten(1, (3, 1))  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"shape \[B, D\]; found \(12, 3, 1\)"):
        score_images(module, (IMAGES, SPECIES))


def test_images_are_embedded_in_the_precision_of_the_trainer() -> None:
    module = module_in_a_trainer(precision="bf16-true").to(torch.bfloat16)
    found = embed_images(module, (IMAGES, SPECIES), 32, 0)
    assert found.vectors.dtype == torch.float32 and np.isfinite(found.vectors.numpy()).all()
