"""A run that is cut off and resumed goes on as if nothing had happened."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, RunRecord, read_epochs
from conspecific.training import resume, train, train_and_test
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.resume import require_same_images

STEPS_AN_EPOCH = 2  # of 10 training images, 6 a batch
EVERYTHING = [
    "loss=triplet",
    "loss.memory=12",
    "model.pooling=gem",
    "model.head=whitened",
    "optimizer.backbone_lr=1e-5",  # so few images are soon lost otherwise, and training stops
    "optimizer.head_lr=1e-5",
    "optimizer.layer_decay=0.5",
    "recipe.cached_augmentations=3",
    "recipe.distillation=0.5",
    "recipe.ema=0.5",
    "recipe.hard_negatives=0.4",
    "recipe.head_epochs=1",
    "recipe.matryoshka=[4,16]",
    "recipe.initial_size=32",
    "recipe.wise_ft_alphas=[0.3,0.6]",
    "recipe.refit_whitening=true",
    "teacher=timm",
    "teacher.backbone=test_resnet",
    "teacher.weights=none",
]


def digest(tensors: Sequence[torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest()


class Recorder:
    """Notes what each training step starts from: images, pixels, every weight, the optimizer, rates, random numbers."""

    def __init__(self, train_tiny: Callable[..., RunRecord | None], monkeypatch: pytest.MonkeyPatch) -> None:
        self.train, self.cut_at = train_tiny, -1
        self.steps: list[dict[str, Any]] = []
        self.state: dict[str, torch.Tensor] = {}
        original = FineTuner.training_step

        def training_step(module: FineTuner, batch: Any, batch_idx: int) -> torch.Tensor:
            if module.global_step == self.cut_at:
                raise ConnectionError("the power went off")
            shown = batch["activations"] if "activations" in batch else batch["image"]
            optimizer, self.state = module.optimizers(), module.state_dict()  # averages and memories among them
            moments = [value for state in optimizer.state.values() for value in state.values()]
            found = {"pixels": [shown], "weights": list(self.state.values()), "moments": moments}
            drawn = float(torch.rand(())), float(np.random.rand()), random.random()  # as a random miner does
            rates = [group["lr"] for group in optimizer.param_groups]
            step = {"ids": batch["index"].tolist(), "drawn": drawn, "rates": rates}
            self.steps.append(step | {name: digest(tensors) for name, tensors in found.items()})
            return original(module, batch, batch_idx)

        monkeypatch.setattr(FineTuner, "training_step", training_step)

    def run(self, folder: Path, *overrides: str, cut_at: int = -1) -> RunRecord | None:
        self.steps, self.cut_at = [], cut_at
        return self.train(folder, *overrides)


def epochs_of(folder: Path) -> list[Epoch]:
    """The recorded epochs, without the time they took."""
    return [replace(epoch, seconds=None) for epoch in read_epochs(RunDirectory(folder))]


@pytest.fixture
def recorder(train_tiny: Callable[..., RunRecord | None], monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(train_tiny, monkeypatch)


@pytest.mark.parametrize(
    ("override", "cut_at"),
    [
        ("loader.workers=0", STEPS_AN_EPOCH),
        ("loader.workers=1", STEPS_AN_EPOCH),
        ("loader.workers=1", 2 * STEPS_AN_EPOCH - 1),
        ("loader.sampling=square_root", 2 * STEPS_AN_EPOCH - 1),
    ],
)
def test_a_resumed_run_takes_the_steps_of_an_uninterrupted_one(
    override: str, cut_at: int, tmp_path: Path, recorder: Recorder
) -> None:
    """The same images, the same augmented pixels and the same weights, to the bit; an epoch cut off begins anew, at its
    start or later."""
    whole = recorder.run(tmp_path / "whole", override)
    steps = recorder.steps
    assert len(steps) == 3 * STEPS_AN_EPOCH
    assert all(len({step[each] for step in steps}) == len(steps) for each in ("pixels", "weights", "moments", "drawn"))
    assert len({*map(str, (step["rates"] for step in steps))}) > 1, "a schedule that begins anew would be seen"

    with pytest.raises(ConnectionError):
        recorder.run(tmp_path / "cut", override, cut_at=cut_at)
    assert recorder.steps == steps[:cut_at]

    resumed = recorder.run(tmp_path / "cut", override, f"resume={tmp_path / 'cut'}")
    assert recorder.steps == steps[STEPS_AN_EPOCH:]
    assert whole is not None
    assert resumed is not None
    assert epochs_of(tmp_path / "cut") == epochs_of(tmp_path / "whole")
    assert resumed.validation["model"].facts == whole.validation["model"].facts
    assert resumed.test["model"].metrics == whole.test["model"].metrics


@pytest.mark.parametrize("words", [[], ["recipe.cached_augmentations=3"]], ids=["new views", "cached augmentations"])
def test_the_number_of_workers_changes_no_bit(words: list[str], tmp_path: Path, recorder: Recorder) -> None:
    found = []
    for workers in (0, 1, 2):
        run = RunDirectory(tmp_path / str(workers))
        record = recorder.run(run.path, *words, f"loader.workers={workers}")
        assert record is not None
        tested = {name: (result.metrics, result.per_query.to_dicts()) for name, result in record.test.items()}
        found.append((recorder.steps, epochs_of(run.path), run.weights.read_bytes(), str(tested)))
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_all_ways_to_train_together_are_resumed_to_the_bit(tmp_path: Path, recorder: Recorder) -> None:
    """Averages, memories, what was confused, kept views, weights before training: none of it begins anew."""
    whole = recorder.run(tmp_path / "whole", *EVERYTHING)
    steps = recorder.steps
    assert len(steps) == 3 * STEPS_AN_EPOCH
    assert {"average.n_averaged", "loss.losses.0.memory.written"} <= recorder.state.keys()
    with pytest.raises(ConnectionError):
        recorder.run(tmp_path / "cut", *EVERYTHING, cut_at=2 * STEPS_AN_EPOCH + 1)
    resumed = recorder.run(tmp_path / "cut", *EVERYTHING, f"resume={tmp_path / 'cut'}")
    assert recorder.steps == steps[2 * STEPS_AN_EPOCH :]
    assert whole is not None and resumed is not None
    runs = [RunDirectory(tmp_path / name) for name in ("whole", "cut")]
    assert epochs_of(runs[0].path) == epochs_of(runs[1].path)
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()
    assert runs[0].start.read_bytes() == runs[1].start.read_bytes()
    assert resumed.test["model"].metrics == whole.test["model"].metrics
    assert resumed.selection == whole.selection


def test_a_resumed_run_builds_its_parts_and_reads_its_checkpoint_once(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectionError):
        recorder.run(tmp_path, cut_at=STEPS_AN_EPOCH)
    done: list[str] = []
    read, build = resume.read_checkpoint, train.build_parts
    monkeypatch.setattr(resume, "read_checkpoint", lambda file: done.append(file.name) or read(file))
    for module in (train, train_and_test):
        monkeypatch.setattr(module, "build_parts", lambda *given: done.append("parts") or build(*given))
    recorder.run(tmp_path, f"resume={tmp_path}")
    assert done == ["last.ckpt", "parts", "best.ckpt"]


def test_a_run_cut_off_after_its_last_epoch_is_scored_when_resumed(tmp_path: Path, recorder: Recorder) -> None:
    run = RunDirectory(tmp_path / "run")
    recorder.run(run.path)
    results = ("val_model.json", "test_model.json")
    scored = [run.results.joinpath(name).read_text() for name in results]
    for file in (run.summary, run.weights, *run.results.iterdir()):
        file.unlink()
    recorder.run(run.path, f"resume={run.path}")
    assert recorder.steps == []
    assert [run.results.joinpath(name).read_text() for name in results] == scored
    assert run.weights.is_file()


def test_random_weights_of_the_baseline_are_drawn_the_same_when_resumed() -> None:
    overrides = ["model=timm", "model.backbone=test_resnet", "model.weights=none"]
    config = typed(compose_config("train", overrides), TrainConfig)
    drawn = [digest(list(train_and_test.pretrained(config).parameters())) for _ in range(2)]
    assert drawn[0] == drawn[1], "what was drawn before has no part in it"


def test_other_seeds_see_other_batches(tmp_path: Path, recorder: Recorder) -> None:
    first = []
    for seed in (0, 1):
        with pytest.raises(ConnectionError):
            recorder.run(tmp_path / str(seed), f"seed={seed}", cut_at=1)
        first.append(recorder.steps[0]["ids"])
    assert first[0] != first[1]


def test_a_run_is_not_resumed_on_other_images(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    row = {"path": ["a.png", "b.png", "c.png"], "label": ["owl"] * 3, "content": ["1", "2", "3"], "train": [True] * 3}
    before = pl.DataFrame(row)
    before.write_parquet(run.splits)
    require_same_images(run, before.reverse())
    now = pl.DataFrame({**row, "path": ["a.png", "b.png", "d.png"], "content": ["1", "0", "4"]})
    with pytest.raises(RunError, match="1 images are new, 1 are gone, 1 have another content, species or split"):
        require_same_images(run, now)


@pytest.mark.parametrize("change", ["split.seed=1", "data.images=9"])
def test_what_was_trained_on_is_never_tested(change: str, tmp_path: Path, recorder: Recorder) -> None:
    """Another division, or more images, would move training images into the test."""
    with pytest.raises(ConnectionError):
        recorder.run(tmp_path, cut_at=STEPS_AN_EPOCH)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match=r"changed since it was started: .* or start a new run"):
        recorder.run(tmp_path, change, f"resume={tmp_path}")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
