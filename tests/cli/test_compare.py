"""Several runs set beside each other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conspecific.cli.compare import _new_folder
from conspecific.config.schema import CompareConfig, PathsConfig
from conspecific.metrics import metric_names
from conspecific.runs.directory import RunDirectory

Command = Callable[..., CompletedProcess[str]]


def test_a_multirun_is_compared_by_group_and_seed(conspecific: Command, tiny: list[str], run: RunDirectory) -> None:
    seeds = ["seed=1,2", "loss=arcface,triplet", "trainer.max_epochs=1", "hydra.sweep.dir=sweep"]
    trained = conspecific("train", "-m", *tiny, *seeds)
    assert (trained.returncode, trained.stderr) == (0, "")
    done = conspecific("compare", "sweep", "output=compared")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(Path("compared/comparison.json").read_text())
    assert [(group["letter"], group["seeds"]) for group in found["groups"]] == [("A", [1, 2]), ("B", [1, 2])]
    assert any(name.startswith("loss.loss") for name in found["settings"])
    assert [difference["metric"] for difference in found["contrasts"][0]["differences"]] == metric_names()
    assert found["contrasts"][0]["over_seeds"]["map@r"] is not None
    mean = found["groups"][0]["means"]["map@r"]
    assert f"{mean:.3f} ± {found['groups'][0]['deviations']['map@r']:.3f}" in done.stdout
    assert "B against A" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Comparison: {Path('compared/comparison.html').resolve()}"
    assert "<h1>" in Path("compared/comparison.html").read_text()
    sorted_by_validation = conspecific("compare", "sweep", "output=compared", "sweep=true")
    assert (sorted_by_validation.returncode, sorted_by_validation.stderr) == (0, "")
    rows = json.loads(Path("compared/comparison.json").read_text())["runs"]
    assert sorted((row["given"]["loss"], row["given"]["seed"]) for row in rows) == [
        ("arcface", "1"),
        ("arcface", "2"),
        ("triplet", "1"),
        ("triplet", "2"),
    ]
    assert "on validation: map@r" in sorted_by_validation.stdout


def test_seeds_are_tested_on_the_same_images(conspecific: Command, tiny: list[str], run: RunDirectory) -> None:
    other = conspecific("train", "experiment=default", "seed=5", "hydra.run.dir=other", *tiny)
    assert (other.returncode, other.stderr) == (0, "")
    done = conspecific("compare", run.path, "other")
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = Path("runs/comparisons").iterdir()
    reference, group = json.loads((folder / "comparison.json").read_text())["groups"]
    assert group["seeds"] == [0, 5]
    assert reference["name"] == "the pooled reference, not trained further"
    assert "A against R" in done.stdout


def test_runs_on_other_images_are_refused(conspecific: Command, tiny: list[str], run: RunDirectory) -> None:
    other = conspecific("train", "experiment=default", "split.seed=1", "hydra.run.dir=other", *tiny)
    assert (other.returncode, other.stderr) == (0, "")
    done = conspecific("compare", run.path, "other")
    assert done.returncode == 2
    assert "were tested on different things" in done.stderr
    assert "queries: 24 and 24, " in done.stderr
    assert not Path("runs/comparisons").exists()


def test_no_file_is_overwritten_that_the_command_did_not_make(conspecific: Command, run: RunDirectory) -> None:
    own = "exists and was not made by {0}: name another file, or remove it"
    Path("folder").mkdir()
    Path("link.html").symlink_to("mine.html")
    Path("mine.html").write_text("<p>mine</p>")
    shutil.copy(run.report, "report.html")
    for name in ("mine.html", "link.html", "report.html"):
        done = conspecific("dashboard", run.path, f"output={name}")
        assert (done.returncode, done.stderr) == (2, f"error: {name} {own.format('dashboard')}\n")
    assert "is a folder, and dashboard writes a file" in conspecific("dashboard", run.path, "output=folder").stderr
    for name, content in {"comparison.json": '{"facts": 1}', "comparison.html": "<p>mine</p>"}.items():
        (file := Path("folder", name)).write_text(content)
        done = conspecific("compare", run.path, run.path, "output=folder")
        assert (done.returncode, done.stderr) == (2, f"error: {file} {own.format('compare')}\n")
        file.unlink()
    assert Path("mine.html").read_text() == "<p>mine</p>"
    for _ in "ab":
        assert conspecific("dashboard", run.path, "output=new.html").returncode == 0, "what it made is made again"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["RUN"], "a comparison needs two runs or more; found 1"),
        (["RUN", "RUN"], "a comparison needs two runs or more; found 1"),
        (["RUN", "nowhere"], "nowhere is not a run directory and holds none"),
        (["RUN", "RUN", "outptu=x"], "Did you mean output?"),
        ([], "a comparison needs two runs or more; found 0"),
    ],
)
def test_what_cannot_be_compared_is_said(
    arguments: list[str], told: str, conspecific: Command, run: RunDirectory
) -> None:
    done = conspecific("compare", *(str(run.path) if word == "RUN" else word for word in arguments))
    assert done.returncode == 2
    assert told in done.stderr


# --- leaks


@pytest.fixture
def leaky(run: RunDirectory) -> Path:
    """The tiny images with one of each species copied to two more files, which land in different subsets."""
    root = shutil.copytree(json.loads(run.summary.read_text())["data_root"], "leaky")
    for species in sorted(Path(root).glob("*/")):
        first = min(species.iterdir())
        for number in (8, 9):
            shutil.copy(first, species / f"copy{number}{first.suffix}")
    return Path(root)


def test_leaks_are_reported_dropped_or_refused(conspecific: Command, tiny: list[str], leaky: Path) -> None:
    rest = [text for text in tiny if not text.startswith("data.")]
    data = ["data=folder", f"data.root={leaky}", "trainer.max_epochs=1"]
    refused = conspecific("train", *rest, *data, "leaks=error", "hydra.run.dir=refused")
    assert refused.returncode == 2
    assert "the subsets share images" in refused.stderr
    assert "leaks=drop" in refused.stderr
    assert not Path("refused").exists()

    reported = conspecific("train", *rest, *data, "hydra.run.dir=reported")
    assert (reported.returncode, reported.stderr) == (0, "")
    assert "pairs of copies are in different subsets" in reported.stdout
    assert "queries that have a copy in training or validation: recall@1" in reported.stdout
    assert "of duplicates in different splits" in Path("reported/report.html").read_text()

    dropped = conspecific("train", *rest, *data, "leaks=drop", "hydra.run.dir=dropped")
    assert (dropped.returncode, dropped.stderr) == (0, "")
    before, after = (json.loads(Path(name, "summary.json").read_text()) for name in ("reported", "dropped"))
    assert after["train"] < before["train"]
    assert after["tested"] == before["tested"]
    compared = conspecific("compare", "reported", "dropped")
    assert compared.returncode == 0
    assert "leaks  report  drop" in " ".join(compared.stdout.split()).replace("report drop", " report  drop")


def test_an_unknown_policy_is_named_before_anything_is_done(conspecific: Command, tiny: list[str]) -> None:
    done = conspecific("train", *tiny, "leaks=dorp", "hydra.run.dir=wrong")
    assert done.returncode == 2
    assert "leaks=dorp is unknown. Did you mean drop?" in done.stderr


def test_two_comparisons_in_one_second_have_two_folders(tmp_path: Path) -> None:
    config = CompareConfig(paths=PathsConfig(runs=str(tmp_path)))
    assert len({_new_folder(config) for _ in range(2)}) == 2
