"""Finished runs, read back to be compared."""

import json
from pathlib import Path

import polars as pl
import pytest

from conspecific.errors import RunError
from conspecific.files import write_json
from conspecific.runs.directory import RunDirectory
from conspecific.runs.tested import find_runs, read_run, require_one_test

from .conftest import MakeRun


def test_a_multirun_stands_for_the_runs_in_it_in_their_order(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()  # no run
    made = [make_run(name, [0, 1]) for name in ("1", "0", "10", "9")]
    assert [path.name for path in find_runs([str(tmp_path)])] == ["0", "1", "9", "10"]
    assert find_runs([str(made[0]), str(made[1]), str(made[0])]) == [made[0], made[1]]


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_what_is_no_run_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory and holds none"):
        find_runs([str(tmp_path / place)])


def test_settings_hold_what_numbers_depend_on_and_not_where_they_were_made(make_run: MakeRun) -> None:
    first = read_run(make_run("a", [0, 1], "seed=3", "name=first", "loader.workers=1"))
    other = read_run(make_run("b", [0, 1], "seed=4", "logger=all"))
    changed = read_run(make_run("c", [0, 1], "seed=3", "loss.loss.margin=9"))
    assert (first.seed, other.seed) == (3, 4)
    assert first.settings == other.settings
    assert {name for name, value in changed.settings.items() if first.settings[name] != value} == {"loss.loss.margin"}


def test_a_run_that_trained_nothing_is_its_pooled_reference(make_run: MakeRun) -> None:
    path = make_run("a", [0, 1, 1, 1])
    for suffix in ("json", "parquet"):
        (path / f"results/test_model.{suffix}").rename(path / f"results/test_pooled.{suffix}")
    summary = json.loads((path / "summary.json").read_text())
    write_json(path / "summary.json", {name: found for name, found in summary.items() if name != "chosen_epoch"})
    assert read_run(path).result.metrics["map@r"] == 0.75


def test_a_run_that_was_cut_off_is_refused(make_run: MakeRun) -> None:
    path = make_run("a", [0, 1])
    RunDirectory(path).summary.unlink()
    with pytest.raises(RunError, match="has not ended"):
        read_run(path)


def test_a_record_of_another_version_is_refused_before_anything_of_it_is_used(make_run: MakeRun) -> None:
    path = make_run("a", [0, 1])
    file = RunDirectory(path).environment
    stored = json.loads(file.read_text())
    for change, found in (({"schema_version": 3}, "version 3"), ({"schema_version": None}, "version None")):
        write_json(file, {**stored, **change})
        with pytest.raises(RunError, match=f"{found} of the record; this one reads version 2. Run it again"):
            read_run(path)
    write_json(file, {name: value for name, value in stored.items() if name != "schema_version"})
    with pytest.raises(RunError, match="in version 1 of the record"):
        read_run(path)


def test_a_run_without_usable_splits_is_refused(make_run: MakeRun) -> None:
    run = RunDirectory(make_run("a", [0, 1]))
    pl.read_parquet(run.splits).drop("content").write_parquet(run.splits)
    with pytest.raises(RunError, match="made by an older version"):
        read_run(run.path)
    run.splits.write_bytes(b"no table")
    with pytest.raises(RunError, match="cannot be read"):
        read_run(run.path)


def test_runs_on_one_test_pass(make_run: MakeRun) -> None:
    runs = [read_run(make_run(name, [0, 1, 1, 0], f"seed={name}")) for name in ("1", "2", "3")]
    require_one_test(runs)
    assert all(run.test.equals(runs[0].test) and run.test.height == 4 for run in runs)


@pytest.mark.parametrize(
    ("overrides", "values", "changes", "told"),
    [
        (["protocol=unseen"], [0, 1, 1, 0], {}, "protocol: seen and unseen"),
        ([], [0, 1, 1], {}, "queries: 4 and 3, 3 of them in both"),
        ([], [0, 1, 1], {}, "gallery images: 4 and 3, 3 of them in both"),
        ([], [0, 1, 1, 0], {"species": "ac"}, "species: another for 2 of 4 images"),
        ([], [0, 1, 1, 0], {"contents": "other"}, "content, under one path: another for 4 of 4 images"),
    ],
)
def test_runs_on_different_tests_are_refused_and_told_apart(
    make_run: MakeRun, overrides: list[str], values: list[float], changes: dict[str, str], told: str
) -> None:
    runs = [read_run(make_run("a", [0, 1, 1, 0])), read_run(make_run("b", values, *overrides, **changes))]
    with pytest.raises(RunError) as caught:
        require_one_test(runs)
    first, *differences = str(caught.value).splitlines()
    assert "were tested on different things" in first
    assert f"  - {told}" in differences


def test_a_gallery_image_more_is_another_test(make_run: MakeRun) -> None:
    runs = [read_run(make_run(name, [0, 1, 1, 0])) for name in "ab"]
    more = runs[1].test.with_columns(path=pl.col("path") + "x", test_query=False)
    object.__setattr__(runs[1], "test", pl.concat([runs[1].test, more]))
    with pytest.raises(RunError, match="gallery images: 4 and 8, 4 of them in both"):
        require_one_test(runs)
