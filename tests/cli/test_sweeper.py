"""Sweeps with Optuna: trials are runs, the bad ones stop early, and a sweep that was cut off goes on."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from conspecific.cli.search_space import search_space
from conspecific.config.location import config_dir, options
from conspecific.errors import ConfigError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_config, read_epochs, read_record
from conspecific.training.fine_tuner import FineTuner

optuna = pytest.importorskip("optuna")

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def sweep(tiny: list[str], run: RunDirectory) -> list[str]:
    """Words of a small sweep; the references of its images are in the cache, because `run` is."""
    own = ["hydra.sweep.dir=sweep", "loader.classes_per_batch=4", "loader.samples_per_class=2", "loss.loss.scale=20"]
    return ["train", "-m", "experiment=sweep/arcface", *tiny, *own]


def trials() -> list[tuple[int, str]]:
    return [(trial["number"], trial["state"]) for trial in json.loads(Path("sweep/trials.json").read_text())]


def space_of(*words: str) -> tuple[list[str], dict[str, Any]]:
    return search_space(OverridesParser.create().parse_overrides(list(words)))


# --- what is searched


def test_hydras_words_become_distributions() -> None:
    fixed, space = space_of(
        "data=folder",
        "~logger",
        "lr=tag(log,interval(1e-5,1e-3))",
        "margin=interval(2,20)",
        "layers=int(interval(1,3))",
        "size=range(96,161,32)",
        "loss=arcface,triplet",
        "crop=choice([0.5,1],'a, b')",
    )
    assert fixed == ["data=folder", "~logger"]
    assert space == {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True),
        "margin": optuna.distributions.FloatDistribution(2, 20),
        "layers": optuna.distributions.IntDistribution(1, 3),
        "size": optuna.distributions.IntDistribution(96, 160, step=32),
        "loss": optuna.distributions.CategoricalDistribution(["arcface", "triplet"]),
        "crop": optuna.distributions.CategoricalDistribution(["[0.5,1]", "a\\,\\ b"]),
    }


def test_a_later_word_replaces_an_earlier_one() -> None:
    fixed, space = space_of("a=1", "b=1,2", "a=3,4", "b=5")
    assert fixed == ["b=5"]
    assert list(space) == ["a"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a=1"], "a sweep needs settings to search"),
        (["a=interval(3,1)"], "no values of a can be drawn"),
        (["a=range(3,3)"], "no values of a can be drawn"),
        (["a=tag(log,interval(0,1))"], "no values of a can be drawn"),
    ],
)
def test_what_cannot_be_searched_is_said(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        space_of(*words)


# --- sweeps


@pytest.mark.slow
def test_trials_are_runs_and_those_that_fall_behind_stop(
    conspecific: Command, sweep: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number == 1)
    done = conspecific(*sweep, "hydra.sweeper.n_trials=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert trials() == [(0, "complete"), (1, "pruned")]
    whole, pruned = (RunDirectory(Path("sweep") / number) for number in "01")
    assert (len(read_epochs(whole)), len(read_epochs(pruned))) == (2, 1)
    for each in (whole, pruned):
        assert each.report.is_file() and each.summary.is_file() and each.weights.is_file()
    first, second = json.loads(Path("sweep/trials.json").read_text())
    for trial, each in ((first, whole), (second, pruned)):
        assert trial["score"] == read_record(each.path).score
    assert read_config(whole).optimizer["backbone_lr"] == first["params"]["optimizer.backbone_lr"]

    more = conspecific(*sweep, "hydra.sweeper.n_trials=3")
    assert (more.returncode, more.stderr) == (0, "")
    assert trials() == [(0, "complete"), (1, "pruned"), (2, "complete")]
    drawn = [trial["params"] for trial in json.loads(Path("sweep/trials.json").read_text())]
    assert len({params["optimizer.backbone_lr"] for params in drawn}) == 3, "the same draws came again"

    compared = conspecific("compare", "sweep", "output=compared")
    assert (compared.returncode, compared.stderr) == (0, "")
    assert re.search("[01] of 1", compared.stdout), "the epoch that was kept, 0 for what was there before training"
    found = json.loads(Path("compared/comparison.json").read_text())
    assert found["settings"] == ["optimizer.backbone_lr", "loss.loss.margin"]
    scores = [each["validation"]["map@r"] for each in found["runs"]]
    assert scores == sorted(scores, reverse=True)
    assert "1 run stopped before the last epoch" in Path("compared/comparison.html").read_text()


@pytest.mark.slow
def test_a_trial_that_was_cut_off_is_begun_again(
    conspecific: Command, sweep: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "training_step", interrupted)
        cut = conspecific(*sweep, "hydra.sweeper.n_trials=1")
    assert cut.returncode == 1
    assert "interrupted; to go on: the same command, with" in cut.stderr and "hydra.sweep.dir=" in cut.stderr
    done = conspecific(*sweep, "hydra.sweeper.n_trials=1", "hydra.sweeper.sampler.n_startup_trials=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert trials() == [(0, "cut off"), (1, "complete")]
    first, second = (trial["params"] for trial in json.loads(Path("sweep/trials.json").read_text()))
    assert first == second
    assert conspecific("train", "resume=sweep/1", "trainer.max_epochs=3").returncode == 0
    assert len(read_epochs(RunDirectory(Path("sweep/1")))) == 3


def test_a_trial_that_fails_is_told_and_counted(conspecific: Command, sweep: list[str]) -> None:
    done = conspecific(*sweep, "data.species=1", "hydra.sweeper.n_trials=2")
    assert done.returncode == 2
    assert "species" in done.stderr
    assert trials() == [(0, "fail"), (1, "fail")]


def test_another_sweep_in_the_folder_is_refused(conspecific: Command, sweep: list[str]) -> None:
    begun = conspecific(*sweep, "hydra.sweeper.n_trials=0")
    assert (begun.returncode, begun.stderr) == (0, "")
    done = conspecific(*sweep, "hydra.sweeper.n_trials=0", "loss.loss.margin=3,4")
    assert done.returncode == 2
    study = Path("sweep/study.db").absolute()
    assert done.stderr.startswith(f"error: {study} is of a sweep with other settings (loss.loss.margin: ")


def test_without_optuna_it_says_what_to_install(
    conspecific: Command, sweep: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = conspecific(*sweep)
    assert done.returncode == 2
    assert done.stderr == "error: hydra/sweeper=optuna needs Optuna: pip install -e '.[sweep]' in the clone\n"
    assert not Path("sweep").exists()


def test_the_losses_of_the_grid_are_there() -> None:
    swept = OmegaConf.load(config_dir() / "experiment/sweep/losses.yaml").hydra.sweeper.params.loss
    assert set(swept.split(",")) <= set(options("loss"))
