"""Many runs in one table: sorted by validation, told apart by what they were given."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from conspecific.errors import RunError
from conspecific.files import write_json
from conspecific.metrics import metric_names
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, append_epoch, write_environment
from conspecific.runs.sweeps import is_sweep, read_sweep

from .conftest import MakeRun, result_of

MakeSwept = Callable[..., Path]


@pytest.fixture
def make_swept(make_run: MakeRun) -> MakeSwept:
    """Writes a finished run with this learning curve, whose best epoch was chosen; its test scores are all `test`."""

    def make(name: str, curve: Sequence[float], *overrides: str, test: float = 0.5, validated: str = "same") -> Path:
        path = make_run(name, [test] * 4, *overrides)
        run = RunDirectory(path)
        best = max(curve)
        splits = pl.read_parquet(run.splits).with_columns(
            val_query=pl.col("path") < "002.jpg", val_gallery=pl.lit(False)
        )
        splits.with_columns(content=pl.lit(validated)).write_parquet(run.splits)
        result_of([best] * 4, "abab").save(run.results / "val_model")
        for place, value in enumerate(curve, start=1):
            append_epoch(run, Epoch(place, 1.0, dict.fromkeys(metric_names(), value), {}))
        summary = json.loads(run.summary.read_text())
        write_json(run.summary, {**summary, "chosen_epoch": list(curve).index(best) + 1})
        return path

    return make


def test_runs_are_sorted_by_validation_whatever_the_test_says(make_swept: MakeSwept) -> None:
    paths = [
        make_swept("0", [0.2, 0.3], "optimizer.backbone_lr=1e-4", "trainer.max_epochs=2", test=0.9),
        make_swept("1", [0.4, 0.6, 0.5], "optimizer.backbone_lr=2e-4", "trainer.max_epochs=3", test=0.1),
        make_swept("2", [0.45], "optimizer.backbone_lr=3e-4", "trainer.max_epochs=3", test=0.5),
    ]
    found = read_sweep(paths)
    assert [run.path.name for run in found.runs] == ["1", "2", "0"]
    assert [run.chosen for run in found.runs] == [2, 1, 2]
    assert [run.is_whole for run in found.runs] == [True, False, True]
    assert [run.validation["map@r"] for run in found.runs] == [0.6, 0.45, 0.3]
    assert [run.test["map@r"] for run in found.runs] == pytest.approx([0.1, 0.5, 0.9])
    assert list(found.keys) == ["optimizer.backbone_lr", "trainer.max_epochs"]
    assert found.runs[0].curve == [0.4, 0.6, 0.5]
    stored = json.loads(json.dumps(found.to_json()))
    assert stored["sorted_by"] == "validation map@r"
    assert stored["runs"][0]["given"] == {"optimizer.backbone_lr": "2e-4", "trainer.max_epochs": "3"}


def test_what_was_given_tells_runs_apart_and_says_no_more_than_it_must(make_swept: MakeSwept) -> None:
    paths = [
        make_swept("a", [0.1], "loss=arcface", "split.seed=0", "logger=csv"),
        make_swept("b", [0.2], "loss=triplet", "split.seed=0", "logger=all"),
        make_swept("c", [0.3], "loss=triplet", "split.seed=0", "++seed=1"),
    ]
    found = read_sweep(paths)
    assert [dict(run.given) for run in found.runs] == [
        {"loss": "triplet", "seed": "1"},
        {"loss": "triplet", "seed": None},
        {"loss": "arcface", "seed": None},
    ]


def test_where_the_words_do_not_say_it_the_settings_do(make_swept: MakeSwept) -> None:
    paths = [make_swept(name, [0.1], f"loss.loss.margin={name}") for name in ("3", "5")]
    for path in paths:
        write_environment(RunDirectory(path), "conspecific train", "fingerprint")
    assert [dict(run.given) for run in read_sweep(paths).runs] == [{"loss.loss.margin": "3"}, {"loss.loss.margin": "5"}]


def test_runs_without_a_result_are_left_out_and_named(make_swept: MakeSwept) -> None:
    paths = [make_swept(name, [0.1], f"seed={name}") for name in ("1", "2", "3")]
    RunDirectory(paths[1]).summary.unlink()
    found = read_sweep(paths)
    assert [run.path.name for run in found.runs] == ["1", "3"]
    assert list(found.unfinished) == [paths[1]]
    RunDirectory(paths[0]).summary.unlink()
    with pytest.raises(RunError, match="two finished runs or more; found 1 of 3"):
        read_sweep(paths)


def test_runs_with_other_validation_images_are_refused(make_swept: MakeSwept) -> None:
    first, second = make_swept("a", [0.1]), make_swept("b", [0.2])
    splits = pl.read_parquet(RunDirectory(second).splits)
    splits.with_columns(val_query=pl.col("path") > "001.jpg").write_parquet(RunDirectory(second).splits)
    with pytest.raises(RunError, match=r"different validation images \(2 and 2, 0 of them in both\)"):
        read_sweep([first, second])


def test_runs_on_another_test_are_refused(make_swept: MakeSwept) -> None:
    paths = [make_swept("a", [0.1]), make_swept("b", [0.2], validated="other")]
    with pytest.raises(RunError, match="were tested on different things"):
        read_sweep(paths)


def test_a_run_whose_validation_is_gone_is_named(make_swept: MakeSwept) -> None:
    paths = [make_swept("a", [0.1]), make_swept("b", [0.2])]
    (RunDirectory(paths[1]).results / "val_model.json").unlink()
    with pytest.raises(RunError, match=r"val_model\.json / \.parquet is not a stored evaluation result"):
        read_sweep(paths)


def test_runs_of_one_name_are_called_by_their_path(make_swept: MakeSwept, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    paths = [make_swept("0", [0.1], "seed=1"), make_swept("more/0", [0.2], "seed=2"), make_swept("1", [0.3], "seed=3")]
    found = read_sweep(paths)
    assert [found.name(run) for run in found.runs] == ["1", str(paths[1]), str(paths[0])]


def test_what_counts_as_a_sweep(make_run: MakeRun, tmp_path: Path) -> None:
    few = [make_run(f"{number}", [0.0, 1.0], f"seed={number}") for number in range(27)]
    assert not is_sweep(few), "27 seeds of one recipe are one group"
    (tmp_path / "trials.json").write_text("[]")
    assert is_sweep(few[:2])


@pytest.mark.slow
def test_more_settings_than_letters_are_a_sweep(make_run: MakeRun) -> None:
    many = [make_run(f"{number}", [0.0, 1.0], f"loss.loss.margin={number}") for number in range(27)]
    assert is_sweep(many)
    assert not is_sweep(many[:26])
