"""Images and baselines that the trainings here share, and a training as small as they come."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.runs.record import RunRecord
from conspecific.training.train import train

TrainTiny = Callable[..., RunRecord | None]

TINY = [
    "loss=arcface",
    "model.pooling=avg",
    "model.head=linear",
    "model.dimensions=16",
    "recipe=neutral",
    "data.species=5",
    "data.images=8",
    "data.size=64",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.classes_per_batch=3",
    "loader.samples_per_class=2",
    "loader.workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where drawn images and baselines are kept; the first training fills it, the others find them there."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def train_tiny(cache: Path) -> TrainTiny:
    """Return a function that trains into a folder: three epochs of two steps each, without anything special."""

    def run(folder: Path, *overrides: str, report: Callable[[RunRecord], object] | None = None) -> RunRecord | None:
        places = [f"paths.cache={cache}", f"paths.run={folder}"]
        config = typed(compose_config("train", [*TINY, *places, *overrides]), TrainConfig)
        return train(config, overrides, Console(quiet=True), report)

    return run
