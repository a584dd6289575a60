"""Training that cannot recover stops, says what to change, and leaves its last good checkpoint behind."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conspecific.config.overrides import override
from conspecific.errors import ImageError, RunError, TrainingError
from conspecific.losses import MetricLoss
from conspecific.metrics import Geometry
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, RunRecord, append_epoch
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.replay import replay_failed_batch
from conspecific.training.resume import read_checkpoint
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.training.stopping import StopOnCollapse, StopOnNonFiniteWeights
from conspecific.types import EvalResult

TrainTiny = Callable[..., RunRecord | None]

KEPT_FROM_BEFORE = [
    "loss=triplet",
    "loss/miner=distance_weighted",
    "loss.memory=12",
    "recipe.cached_augmentations=3",
    "recipe.ema=0.5",
    "recipe.distillation=0.5",
    "teacher=timm",
    "teacher.backbone=test_resnet",
    "teacher.weights=none",
]


def spoil(monkeypatch: pytest.MonkeyPatch, epoch: int, wreck: Callable[[nn.Module], None]) -> None:
    """Have the head wrecked after the last step of an epoch, before it is checked and scored."""
    plain = StopOnNonFiniteWeights.on_train_epoch_end

    def spoiled(callback: StopOnNonFiniteWeights, trainer: Any, module: FineTuner) -> None:
        if trainer.current_epoch + 1 == epoch:
            with torch.no_grad():
                wreck(module.eval_embedder.head)
        plain(callback, trainer, module)

    monkeypatch.setattr(StopOnNonFiniteWeights, "on_train_epoch_end", spoiled)


def assert_kept(folder: Path, epoch: int) -> None:
    """Both checkpoints are of an epoch that was good, and whole."""
    for name in ("last", "best"):
        checkpoint = read_checkpoint(RunDirectory(folder).checkpoints / f"{name}.ckpt")
        assert checkpoint["epoch"] + 1 == epoch
        weight = checkpoint["state_dict"]["embedder.head.weight"]
        assert torch.isfinite(weight).all() and weight.abs().sum() > 0


def test_embeddings_that_collapse(tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 2, lambda head: nn.init.zeros_(head.weight))  # type: ignore[arg-type]
    with pytest.raises(TrainingError) as caught:
        train_tiny(tmp_path)
    told = str(caught.value)
    assert told.startswith(
        "the embeddings have collapsed: the encoder maps all images to nearly the same vector after epoch 2."
    )
    assert "Lower optimizer.backbone_lr or loss_lr, raise optimizer.warmup_epochs, or choose another loss" in told
    assert told.endswith(f"the checkpoint of epoch 1 is intact in {tmp_path / 'checkpoints'}")
    assert_kept(tmp_path, epoch=1)
    monkeypatch.undo()
    assert train_tiny(tmp_path, f"resume={tmp_path}") is not None, "from there it can go on"


def test_a_first_epoch_that_collapses_leaves_no_checkpoint(
    tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1, lambda head: nn.init.zeros_(head.weight))  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"after epoch 1\. .* no checkpoint was written in"):
        train_tiny(tmp_path)
    assert not [*RunDirectory(tmp_path).checkpoints.glob("*.ckpt")]


def test_weights_with_nan_or_inf(tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of an epoch may leave them, with no loss after it to show it."""
    spoil(monkeypatch, 2, lambda head: nn.init.constant_(head.weight, float("nan")))  # type: ignore[arg-type]
    with pytest.raises(
        TrainingError, match=r"^the weights contain NaN or Inf after epoch 2\. Lower .* epoch 1 is intact"
    ):
        train_tiny(tmp_path)
    assert_kept(tmp_path, epoch=1)


def test_a_loss_that_is_nan(tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, steps = MetricLoss.forward, []

    def forward(loss: MetricLoss, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        return plain(loss, embeddings, labels) * (float("nan") if len(steps) == 4 else 1)

    monkeypatch.setattr(MetricLoss, "forward", forward)
    kept = RunDirectory(tmp_path).failed_batch
    with pytest.raises(TrainingError) as caught:
        train_tiny(tmp_path)
    told = "the loss became nan at step 3, in a batch of the sample ids ["
    assert str(caught.value).startswith(told) and "Lower optimizer.backbone_lr or loss_lr" in str(caught.value)
    assert str(caught.value).endswith(f"The batch and what it met are in {kept}.")
    assert_kept(tmp_path, epoch=1)
    failed = torch.load(kept, weights_only=True)
    assert (failed["epoch"], failed["step"], failed["batch"]["image"].shape) == (1, 3, (6, 3, 64, 64))
    assert str(failed["batch"]["index"].tolist()) in str(caught.value)
    assert "embedder.head.weight" in failed["state_dict"]
    monkeypatch.undo()
    assert train_tiny(tmp_path, f"resume={tmp_path}") is not None
    assert not kept.exists()


@pytest.mark.parametrize("words", [[], KEPT_FROM_BEFORE], ids=["images", "activations, memory, average, teacher"])
def test_a_failed_batch_is_replayed_to_the_bit(
    words: list[str], tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, found = FineTuner.batch_loss, list[float]()

    def batch_loss(module: FineTuner, batch: Any, epoch: int) -> torch.Tensor:
        noise = torch.rand(()) + np.random.rand() + random.random()  # what a random miner or dropout draws
        loss = plain(module, batch, epoch) + noise
        found.append(loss.item())
        return loss / 0 * 0 if len(found) == 4 else loss

    monkeypatch.setattr(FineTuner, "batch_loss", batch_loss)
    with pytest.raises(TrainingError, match=r"The batch and what it met are in .*failed_batch\.pt\."):
        train_tiny(tmp_path, *words)
    [*before, failed] = found
    assert len({*found}) == 4 and failed == failed
    found[:] = before
    torch.rand(5), np.random.rand(5), random.random()
    again = replay_failed_batch(tmp_path)
    assert torch.isnan(again.loss) and found[3] == failed and again.epoch == 1
    found.clear()
    assert replay_failed_batch(tmp_path).loss.item() == failed
    file = RunDirectory(tmp_path).failed_batch
    whole = file.read_bytes()
    torch.save({**torch.load(file, weights_only=True), "state_dict": {"head": torch.zeros(2)}}, file)
    assert_refused(tmp_path, "failed_batch.pt does not belong to the model and loss of its run: Error(s) in loading")
    file.write_bytes(whole[:-9])
    assert_refused(tmp_path, "failed_batch.pt is damaged")
    file.unlink()
    assert_refused(tmp_path, "failed_batch.pt is missing")


def assert_refused(folder: Path, told: str) -> None:
    with pytest.raises(RunError, match=re.escape(told)):
        replay_failed_batch(folder)


def test_an_image_that_is_deleted_during_training(
    tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1, lambda _: move("images", "moved"))

    def move(old: str, new: str) -> None:
        (tmp_path / old).rename(tmp_path / new)

    data = [f"data.cache={tmp_path / 'images'}", "loader.workers=1"]
    with pytest.raises(ImageError) as caught:
        train_tiny(tmp_path / "run", *data)
    assert str(caught.value).startswith(f"{tmp_path}/images/")
    told = "cannot be read as an image: no such file or directory. It could be read when the run began: restore it, "
    assert str(caught.value).endswith(f"{told}then go on with {override('resume', str(tmp_path / 'run'))}")
    move("moved", "images")
    assert_kept(tmp_path / "run", epoch=1)


# --- what counts as lost


def stop(folder: Path, epochs: list[tuple[float, float]], baseline: float = 0.3, **geometry: float) -> None:
    """Judge the last of some epochs, each a loss and a score."""
    run = RunDirectory(folder)
    for epoch, (loss, score) in enumerate(epochs, start=1):
        append_epoch(run, Epoch(epoch, loss, {"map@r": score}, {}))
    shape = Geometry(0.5, -2.0, **{"effective_rank": 8.0, "mean_similarity": 0.1, **geometry}, images=9, species=3)
    metrics = {"map@r": epochs[-1][1]}
    result = EvalResult(metrics, metrics, None, {"geometry": shape.to_json()})  # type: ignore[arg-type]
    baseline_result = EvalResult({"map@r": baseline}, {}, None)  # type: ignore[arg-type]
    retrieval = RetrievalCallback([], "map@r")
    retrieval.result = result
    trainer = SimpleNamespace(current_epoch=len(epochs) - 1)
    StopOnCollapse(retrieval, baseline_result, run).on_train_epoch_end(trainer, None)  # type: ignore[arg-type]


def goes_on(folder: Path, epochs: list[tuple[float, float]], baseline: float = 0.3) -> bool:
    try:
        stop(folder, epochs, baseline)
    except TrainingError:
        return False
    return True


def test_losing_half_of_what_was_found_while_the_loss_doubles(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        stop(tmp_path, [(2.0, 0.5), (1.0, 0.6), (2.1, 0.29)])
    assert str(caught.value).startswith(
        "training diverged: validation map@r fell from 0.600 to 0.290 and the loss rose to 2.1 after epoch 3. Lower"
    )
    assert "the checkpoint of epoch 2 is intact" in str(caught.value)


@pytest.mark.parametrize(
    "epochs",
    [
        [(3.0, 0.01)],
        [(2.0, 0.6), (2.1, 0.2)],
        [(1.0, 0.6), (9.0, 0.31)],
        [(2.0, 0.6), (1.0, 0.2), (1.9, 0.1)],
    ],
    ids=["a first epoch", "a worse score alone", "a worse loss alone", "a loss that fell in between"],
)
def test_what_may_yet_come_right_goes_on(epochs: list[tuple[float, float]], tmp_path: Path) -> None:
    assert goes_on(tmp_path, epochs)


def test_what_is_above_the_baseline_still_goes_on(tmp_path: Path) -> None:
    """Harder batches raise a loss, and half of much may be more than the network had before training."""
    assert goes_on(tmp_path, [(1.0, 0.6), (9.0, 0.29)], baseline=0.2)
    assert not goes_on(tmp_path, [(1.0, 0.6), (9.0, 0.29)], baseline=0.3)


def test_a_point_and_a_line_are_collapsed_whatever_the_score(tmp_path: Path) -> None:
    for geometry in ({"mean_similarity": 0.99}, {"effective_rank": 1.5}):
        with pytest.raises(TrainingError, match="the embeddings have collapsed"):
            stop(tmp_path, [(2.0, 0.5), (1.0, 0.6)], **geometry)
