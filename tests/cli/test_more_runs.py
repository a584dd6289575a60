"""Runs after the first: the baseline alone, trying out, several at once, going on."""

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from conspecific.evaluation import baseline
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_config, read_epochs, read_record
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.resume import read_checkpoint

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def quick(tiny: list[str], run: RunDirectory) -> list[str]:
    """Overrides of a single epoch; the references of its images are in the cache, because `run` is."""
    return [*tiny, "trainer.max_epochs=1"]


def test_a_second_run_takes_the_baseline_from_the_cache(
    conspecific: Command, quick: list[str], run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the baseline was computed again")

    for name in baseline.REFERENCES:  # in place: others import the mapping while it is changed
        monkeypatch.setitem(baseline.REFERENCES, name, refuse)
    done = conspecific("train", "hydra.run.dir=second", *quick)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (json.loads(each.summary.read_text())["test"] for each in (run, RunDirectory(Path("second"))))
    assert first["flatten"] == second["flatten"]
    assert first["pooled"] == second["pooled"]


def test_the_baseline_experiment_trains_nothing(conspecific: Command, quick: list[str]) -> None:
    overrides = [text for text in quick if not text.startswith("trainer.max_epochs")]
    done = conspecific("train", "experiment=baseline", "hydra.run.dir=baseline", *overrides)
    assert (done.returncode, done.stderr) == (0, "")
    run = RunDirectory(Path("baseline"))
    assert run.report.is_file()
    assert not run.weights.exists()
    assert set(json.loads(run.summary.read_text())["test"]) == {"flatten", "pooled"}
    assert done.stdout.splitlines()[-1] == f"Report: {run.report.resolve()}"


@pytest.mark.parametrize("experiment", ["default", "triplet"])
def test_validate_leaves_no_run_directory(experiment: str, conspecific: Command, quick: list[str]) -> None:
    overrides = [text for text in quick if not text.startswith("model.dimensions")]  # of a head; triplet has none
    done = conspecific("train", f"experiment={experiment}", "dry_run=true", "logger=wandb", *overrides)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Dry run: 12 training, 12 validation and 24 test images of 6 species" in done.stdout
    assert not list(Path.cwd().rglob("train.log"))
    assert list(Path("runs").iterdir()) == []


def test_a_directory_that_was_there_before_is_never_removed(conspecific: Command) -> None:
    Path("letters").mkdir()
    Path("letters/dear.txt").write_text("Dear")
    assert conspecific("train", "hydra.run.dir=letters", "data=folder", "data.root=gone").returncode == 2
    assert [path.name for path in Path("letters").iterdir()] == ["dear.txt"]


def test_a_multirun_makes_a_directory_for_each_job(conspecific: Command, quick: list[str]) -> None:
    done = conspecific("train", "-m", "loss=arcface,triplet", "hydra.sweep.dir=sweep", *quick)
    assert done.returncode == 0, done.stderr
    first, second = (RunDirectory(Path("sweep") / number) for number in "01")
    assert read_config(first).loss["loss"]["_target_"].endswith("ArcFaceLoss")
    assert read_config(second).loss["loss"]["_target_"].endswith("TripletMarginLoss")
    assert "Job 1 of 2: loss=arcface\n" in first.log.read_text()
    assert "Job 2 of 2: loss=triplet\n" in second.log.read_text()
    *_, best, worst, _, following = done.stdout.splitlines()
    rows = {row.split()[0]: row.split()[1:3] for row in (best, worst)}
    scores = {f"{each.path.name}:": f"{read_record(each.path).score:.3f}" for each in (first, second)}
    assert rows == {"0:": ["loss=arcface", scores["0:"]], "1:": ["loss=triplet", scores["1:"]]}
    assert best.split()[2] >= worst.split()[2]
    assert following == f"Next: conspecific compare {first.path.resolve().parent}"
    for each in (first, second):
        assert each.report.is_file()
        assert f"Report: {each.report.resolve()}" in each.log.read_text()
    assert "sweep/1/report.html" not in first.log.read_text()


def test_a_job_that_fails_is_told_and_the_others_run(conspecific: Command, quick: list[str]) -> None:
    done = conspecific("train", "-m", "hydra.sweep.dir=sweep", *quick, "data.species=1,6")
    assert done.returncode == 2
    assert "species" in done.stderr and done.stderr.count("\n") == 1
    assert not Path("sweep/0").exists()
    assert Path("sweep/1/report.html").is_file()


def test_images_in_a_folder_with_a_difficult_name(conspecific: Command, quick: list[str], run: RunDirectory) -> None:
    drawn = json.loads(run.summary.read_text())["data_root"]
    shutil.copytree(drawn, "It's my butterflies, 2024")
    overrides = [text for text in quick if not text.startswith("data.")]
    data = ["data=folder", "data.root=It's my butterflies, 2024"]
    done = conspecific("train", "experiment=baseline", *data, *overrides, "trainer.max_epochs=0")
    assert (done.returncode, done.stderr) == (0, "")
    [report] = Path("runs").rglob("report.html")
    assert ">Pooled reference</h3>" in report.read_text().partition('id="map-card"')[2], "it has an embedding map"


# --- going on with a run


def test_resume_goes_on_to_more_epochs(conspecific: Command, quick: list[str]) -> None:
    run = RunDirectory(Path("it's run=1 (mine)"))
    begun = conspecific("train", "loss=triplet", "seed=3", "hydra.run.dir='it\\'s run=1 (mine)'", *quick)
    assert begun.returncode == 0, begun.stderr
    [first] = read_epochs(run)
    done = conspecific("train", f"resume={run.path}/", "trainer.max_epochs=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert [epoch.epoch for epoch in read_epochs(run)] == [1, 2]
    assert read_epochs(run)[0] == first
    config = read_config(run)
    assert (config.seed, config.trainer["max_epochs"]) == (3, 2)
    assert config.loss["loss"]["_target_"].endswith("TripletMarginLoss")
    assert "Epoch 1 of 1" in run.log.read_text()
    assert "Epoch 2 of 2" in run.log.read_text()
    with (run.path / "logs/csv/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    before = ["0", "1", "1", "1", "1"]  # two training steps; with the last of them the epoch, the test and the report
    assert [row["step"] for row in rows] == [*before, "2", "3", "3", "3", "3"]
    assert not Path("runs").exists()


def test_a_finished_run_is_not_resumed_without_more_epochs(
    conspecific: Command, run: RunDirectory, tmp_path: Path
) -> None:
    copy = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "copy")))
    done = conspecific("train", f"resume={copy.path}")
    assert done.returncode == 2
    assert done.stderr.endswith("has finished 2 epochs, and trainer.max_epochs is 2: set a larger one to continue\n")
    assert copy.summary.read_text() == run.summary.read_text()


def test_a_run_is_not_resumed_with_another_model(conspecific: Command, run: RunDirectory, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    kept = {file: (copy / file).read_bytes() for file in ("config.yaml", "overrides.yaml", "environment.json")}
    done = conspecific("train", f"resume={copy}", "trainer.max_epochs=3", "model.head=mlp")
    assert done.returncode == 2
    assert "last.ckpt belongs to another model, loss or set of species than this run's" in done.stderr
    assert {file: (copy / file).read_bytes() for file in kept} == kept, "what was refused leaves the run as it was"


def test_a_run_that_is_interrupted_says_how_to_go_on(
    conspecific: Command, tiny: list[str], run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = FineTuner.training_step

    def interrupted(self: FineTuner, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "training_step", interrupted)
        done = conspecific("train", "hydra.run.dir=cut off", *tiny)
    assert done.returncode == 1
    place = Path("cut off").resolve()
    again = shlex.join(["conspecific", "train", f"resume={place}"])
    assert done.stderr == f"interrupted; to go on: {again}\n"
    assert conspecific("train", "resume=cut off").returncode == 0
    assert [epoch.epoch for epoch in read_epochs(RunDirectory(place))] == [1, 2]


def test_a_run_that_was_moved_keeps_its_best_epoch(conspecific: Command, quick: list[str]) -> None:
    assert conspecific("train", "hydra.run.dir=old", *quick).returncode == 0
    Path("old").rename("new")
    done = conspecific("train", "resume=new", "trainer.max_epochs=2", "optimizer.backbone_lr=0.5")
    assert (done.returncode, done.stderr) == (0, "")
    run = RunDirectory(Path("new"))
    best = read_checkpoint(run.checkpoints / "last.ckpt")["callbacks"]
    kept = [state["best_model_path"] for state in best.values() if state.get("monitor")]
    assert kept == [str((run.checkpoints / "best.ckpt").resolve())], "Lightning knows the best epoch where it is now"
    epochs = [epoch.metrics["map@r"] for epoch in read_epochs(run)]
    assert read_checkpoint(run.checkpoints / "best.ckpt")["epoch"] == epochs.index(max(epochs))
