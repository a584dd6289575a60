"""Opening a trained embedder in Python."""

from pathlib import Path

import numpy as np
import pytest

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError, RunError
from conspecific.models import build_embedder
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.load import load
from conspecific.runs.record import start_record

MODEL = ["model=timm", "model.backbone=test_resnet", "model.head=linear", "model.dimensions=16"]
IMAGE = [np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=16)
    save_weights(embedder, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def run(weights: Path) -> RunDirectory:
    """The record of a run that was evaluated at 48 pixels, as far as opening needs it."""
    run = RunDirectory(weights.parent)
    overrides = [*MODEL, "loader.image_size=48"]
    start_record(run, typed(compose_config("train", overrides), TrainConfig), overrides, "none")
    return run


def test_a_run_and_its_weights_are_the_same_embedder(run: RunDirectory, weights: Path) -> None:
    embedder = load(run.path, device="cpu")
    assert (embedder.image_size, embedder.training, embedder.truncate) == (48, False, None)
    assert load(weights, model=MODEL).image_size == 224
    same = load(str(weights), model=[*MODEL, "loader.image_size=48"])
    np.testing.assert_array_equal(embedder.embed(IMAGE), same.embed(IMAGE))
    other = load(run.path, image_size=64, truncate=4)
    assert other.image_size == 64
    assert other.embed(IMAGE).shape == (1, 4)


def test_what_cannot_be_opened_is_said(run: RunDirectory, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is a file: say what its weights belong to"):
        load(weights)
    with pytest.raises(RunError, match="is not a run directory"):
        load(tmp_path / "nothing")
    with pytest.raises(RunError, match="does not hold the weights of this model"):
        load(weights, model="efficientnet_lite0")
    with pytest.raises(ConfigError, match="efficientnet"):
        load(weights, model="efficientnet_lite9")
    with pytest.raises(ConfigError, match="truncate must be 1 to 16"):
        load(run.path, truncate=17)
    with pytest.raises(ConfigError, match="device=gpu cannot be used here"):
        load(run.path, device="gpu")
