"""A run that is cut off and resumed goes on as if nothing had happened."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.run_directory import RunDirectory
from conspecific.config.schema import TrainConfig
from conspecific.training.module import FineTuner
from conspecific.training.run import Outcome, train

TINY = [
    "loss=arcface",
    "model.head=linear",
    "model.dimensions=16",
    "data.species=5",
    "data.pictures=8",
    "data.size=64",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.batch_species=3",
    "loader.batch_pictures=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
]
STEPS_AN_EPOCH = 2  # of 10 training pictures, 6 a batch


def digest(tensors: Sequence[torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest()


class Recorder:
    """Notes what each training step starts from: pictures, their pixels, and every weight."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache, self.cut_at = cache, -1
        self.steps: list[dict[str, Any]] = []
        original = FineTuner.training_step

        def training_step(module: FineTuner, batch: Any, batch_idx: int) -> torch.Tensor:
            if module.global_step == self.cut_at:
                raise ConnectionError("the power went off")
            pixels, weights = digest([batch["image"]]), digest(list(module.state_dict().values()))
            self.steps.append({"ids": batch["index"].tolist(), "pixels": pixels, "weights": weights})
            return original(module, batch, batch_idx)

        monkeypatch.setattr(FineTuner, "training_step", training_step)

    def run(self, folder: Path, *overrides: str, cut_at: int = -1) -> Outcome | None:
        self.steps, self.cut_at = [], cut_at
        places = [f"paths.cache={self.cache}", f"paths.run={folder}"]
        config = typed(compose_config("train", [*TINY, *places, *overrides]), TrainConfig)
        return train(config, overrides, Console(quiet=True))


@pytest.fixture
def recorder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(cache, monkeypatch)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cut_at", [STEPS_AN_EPOCH, 2 * STEPS_AN_EPOCH - 1], ids=["at an epoch's start", "in an epoch"])
def test_a_resumed_run_takes_the_steps_of_an_uninterrupted_one(
    cut_at: int, workers: int, tmp_path: Path, recorder: Recorder
) -> None:
    """The same pictures, the same augmented pixels and the same weights, to the bit; an epoch cut off begins anew."""
    override = f"loader.workers={workers}"
    whole = recorder.run(tmp_path / "whole", override)
    steps = recorder.steps
    assert len(steps) == 3 * STEPS_AN_EPOCH
    assert len({step["pixels"] for step in steps}) == len({step["weights"] for step in steps}) == len(steps)

    with pytest.raises(ConnectionError):
        recorder.run(tmp_path / "cut", override, cut_at=cut_at)
    assert recorder.steps == steps[:cut_at]

    resumed = recorder.run(tmp_path / "cut", override, f"resume={tmp_path / 'cut'}")
    assert recorder.steps == steps[STEPS_AN_EPOCH:]
    assert whole is not None
    assert resumed is not None
    assert RunDirectory(tmp_path / "cut").read_epochs() == RunDirectory(tmp_path / "whole").read_epochs()
    assert resumed.validation["model"].facts == whole.validation["model"].facts
    assert resumed.test["model"].metrics == whole.test["model"].metrics


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


def test_other_seeds_see_other_batches(tmp_path: Path, recorder: Recorder) -> None:
    first = []
    for seed in (0, 1):
        with pytest.raises(ConnectionError):
            recorder.run(tmp_path / str(seed), f"seed={seed}", cut_at=1)
        first.append(recorder.steps[0]["ids"])
    assert first[0] != first[1]
