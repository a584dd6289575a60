"""What a dry run lets through, a run can do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conspecific.errors import ConfigError
from conspecific.runs.record import RunRecord

TrainTiny = Callable[..., RunRecord | None]

ALL = [
    "recipe=default",
    "model.head=whitened",
    "recipe.ema=0.5",
    "recipe.hard_negatives=0.4",
    "recipe.matryoshka=[4,16]",
    "recipe.initial_size=32",
    "+callbacks.checkpoint.every_n_epochs=3",
]


def test_a_dry_run_trains_and_scores_and_keeps_nothing(train_tiny: TrainTiny, cache: Path, tmp_path: Path) -> None:
    train_tiny(tmp_path / "first", "dry_run=true", "trainer.max_epochs=0")  # draws the images and checks them
    kept = sorted(cache.rglob("*"))
    assert train_tiny(tmp_path / "run", "dry_run=true", *ALL) is None
    assert sorted(cache.rglob("*")) == kept
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["+optimizer.optimizer.betas=[2,3]"], "the optimizer refuses its settings: Invalid beta"),
        (["optimizer.head_lr=-1"], r"optimizer\.head_lr must be 0 or more; found -1"),
        (
            ["model.pooling=flatten", "model.head=none", "model.dimensions=null", "loader.train_size=32"],
            r"dimensions at loader\.train_size=32 and 5120 at loader\.image_size=64",
        ),
        (
            ["model.trainable_stages=0", "model.head=none", "model.dimensions=null", "loss=triplet"],
            "no weight is trained: set model.trainable_",
        ),
        (["optimizer.layer_decay=0"], r"optimizer\.layer_decay must be above 0; found 0"),
        (["+trainer.gradient_clip_algorithm=x"], "gradient_clip_algorithm"),
        (["model.backbone=levit_128s", "model.weights=none"], "levit_128s does not take images of 64 px"),
    ],
)
def test_what_fails_in_training_fails_in_a_dry_run(
    overrides: list[str], told: str, train_tiny: TrainTiny, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        train_tiny(tmp_path / "run", "dry_run=true", *overrides)
