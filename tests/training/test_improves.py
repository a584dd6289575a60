"""Real trainings, on the CPU: fine-tuning finds more than the baseline it starts from."""

import os
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.overrides import override
from conspecific.config.schema import TrainConfig
from conspecific.evaluation import compare
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, read_epochs
from conspecific.training.train import train

pytestmark = pytest.mark.slow

BIRDS = os.environ.get("CONSPECIFIC_BIRDS100")
SMALL = [
    "loader.image_size=128",
    "loader.train_size=128",
    "loader.classes_per_batch=8",
    "loader.samples_per_class=4",
    "trainer.accelerator=cpu",
]


def trained(*overrides: str) -> RunRecord:
    outcome = train(typed(compose_config("train", [*SMALL, *overrides]), TrainConfig), overrides, Console(quiet=True))
    assert outcome is not None
    return outcome


def assert_gained(outcome: RunRecord) -> None:
    """map@r of the test images is above the baseline's, with its whole interval, and not below the pooled reference's.

    The pooled reference is above the baseline without any training: only what is more than it has been learnt.
    """
    over_flatten, over_pooled = (
        next(each for each in compare(outcome.test["model"], outcome.test[name]) if each.metric == "map@r")
        for name in ("flatten", "pooled")
    )
    assert over_flatten.interval.low > 0, over_flatten
    if outcome.selection is not None and outcome.selection.pooled_reference:  # validation could not tell
        assert (over_pooled.won, over_pooled.lost) == (0, 0)
    else:
        assert over_pooled.interval.mean > 0, over_pooled


@pytest.mark.parametrize("experiment", ["default", "triplet"])
def test_fine_tuning_on_butterflies_beats_the_baseline(experiment: str, cache: Path, tmp_path: Path) -> None:
    data = ["data.species=16", "data.images=16", "data.size=128", "trainer.max_epochs=4"]
    outcome = trained(f"experiment={experiment}", *data, f"paths.cache={cache}", f"paths.run={tmp_path}")
    assert_gained(outcome)
    losses = [epoch.loss for epoch in read_epochs(RunDirectory(tmp_path))]
    assert losses[-1] < losses[0]


@pytest.mark.skipif(not BIRDS, reason="CONSPECIFIC_BIRDS100 does not name a folder of photographs")
def test_fine_tuning_on_photographs_of_unseen_species_beats_the_baseline(cache: Path, tmp_path: Path) -> None:
    """Forty species of real birds, twenty to train and twenty to test, two short epochs."""
    folder = Path(str(BIRDS))
    assert (folder / "manifest.csv").is_file(), f"CONSPECIFIC_BIRDS100={folder} holds no manifest.csv"
    birds = pl.read_csv(folder / "manifest.csv").select("path", "label")
    some = birds.filter(pl.col("label").is_in(birds["label"].unique().sort()[:40].to_list()))
    some.group_by("label", maintain_order=True).head(15).write_csv(tmp_path / "birds.csv")
    data = ["data=manifest", override("data.path", str(tmp_path / "birds.csv")), override("data.root", str(folder))]
    run = ["protocol=unseen", "trainer.max_epochs=2", f"paths.cache={cache}", f"paths.run={tmp_path / 'run'}"]
    outcome = trained("experiment=default", *data, *run)
    assert outcome.test["model"].facts["species"] == 20
    assert_gained(outcome)
