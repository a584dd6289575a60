"""Finished runs as a comparison reads them: settings, test split and scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, read_record, read_result
from conspecific.types import EvalResult

# Keys that metrics do not depend on, and the seed, by which runs are grouped.
NOT_SETTINGS = (
    "name",
    "seed",
    "paths",
    "resume",
    "dry_run",
    "allow",
    "logger",
    "loader.workers",
    "data.cache",
    "metrics",
)


@dataclass(frozen=True)
class TestedRun:
    """A finished run.

    data_root: the folder of its images when it was made.
    settings: dotted key -> value, for every key of the configuration that metrics depend on, without the seed.
    test: one row per image of the test split: path, label, content, test_query, test_gallery.
    result: the test result of the model, or of the pooled reference if nothing was trained.
    reference: the result to compare it with: the pooled reference, or the flatten baseline if nothing was trained.
    """

    path: Path
    data_root: Path
    seed: int
    settings: Mapping[str, Any]
    test: pl.DataFrame
    result: EvalResult
    reference: EvalResult


def find_runs(places: Sequence[str]) -> list[Path]:
    """Return run directories: each place itself, or the run directories in it, as in the folder of a multirun.

    Raises RunError if a place is neither.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place).expanduser()
        inside = [path] if RunDirectory(path).config.is_file() else runs_in(path)
        if not inside:
            raise RunError(f"{path} is not a run directory and holds none. Give folders under runs/.")
        found |= dict.fromkeys(inside)
    return list(found)


def runs_in(folder: Path) -> list[Path]:
    """Run directories in a folder, in the order of their numbers or names."""
    if not folder.is_dir():
        return []
    inside = (path for path in folder.iterdir() if RunDirectory(path).config.is_file())
    return sorted(inside, key=lambda path: (len(path.name), path.name))


def read_run(path: Path) -> TestedRun:
    """Read a finished run. Raises RunError where it has not been scored on its test split."""
    return tested_run(read_record(path))


def tested_run(record: RunRecord) -> TestedRun:
    """Return the fields of a record that a comparison needs."""
    test = record.splits.filter(pl.col("test_query") | pl.col("test_gallery"))
    return TestedRun(
        record.path,
        Path(record.counts.data_root),
        record.config.seed,
        settings_of(asdict(record.config)),
        test.select("path", "label", "content", "test_query", "test_gallery"),
        read_result(record.directory, "test", record.best),
        read_result(record.directory, "test", record.reference),
    )


def require_one_test(runs: Sequence[TestedRun]) -> None:
    """Raise RunError if the test split of a run differs from that of the first run, and name the differences."""
    first, *others = runs
    for other in others:
        if found := _how_tests_differ(first, other):
            raise RunError(
                f"{first.path} and {other.path} were tested on different things, so their numbers cannot be compared:\n"
                + "\n".join(f"  - {line}" for line in found)
            )


def _how_tests_differ(first: TestedRun, other: TestedRun) -> list[str]:
    found = []
    mine, theirs = (run.result.facts["protocol"] for run in (first, other))
    if mine != theirs:
        found.append(f"protocol: {mine} and {theirs}")
    for use, name in (("test_query", "queries"), ("test_gallery", "gallery images")):
        mine, theirs = (set(run.test.filter(use)["path"]) for run in (first, other))
        if mine != theirs:
            found.append(f"{name}: {len(mine)} and {len(theirs)}, {len(mine & theirs)} of them in both")
    both = first.test.join(other.test, on="path", suffix="_other")
    for column, name in (("label", "species"), ("content", "content, under one path")):
        if count := both.filter(pl.col(column) != pl.col(f"{column}_other")).height:
            found.append(f"{name}: another for {count} of {both.height} images")
    return found


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted key -> value, for every key of a configuration that metrics depend on, without the seed."""
    inside = f"{config['paths']['run']}/"  # as checkpoints are
    return {
        name: value
        for name, value in _flat(config)
        if not (isinstance(value, str) and value.startswith(inside))
        and not any(f"{name}.".startswith(f"{left_out}.") for left_out in NOT_SETTINGS)
    }


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
