"""A sweep: many runs with different settings, sorted by their validation metric."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.groups import GROUPS
from conspecific.runs.record import RunRecord, read_environment, read_record, read_result
from conspecific.runs.tested import NOT_SETTINGS, read_run, require_one_test, tested_run

TRIALS = "trials.json"  # the sweeper writes it into the folder of its trials
VALIDATION = ("path", "label", "content", "val_query", "val_gallery")


@dataclass(frozen=True)
class SweptRun:
    """One run of many.

    given: the settings in which the runs differ -> as written on the command line, None where it was left as it is.
    validation, test: metric -> value, of the chosen epoch; of the pooled reference where nothing was trained.
    chosen: the epoch; None where nothing was trained. curve: the monitored validation metric after every epoch.
    planned: the epochs it was to have; it was stopped early where the curve has fewer.
    """

    path: Path
    given: Mapping[str, str | None]
    validation: Mapping[str, float]
    test: Mapping[str, float]
    chosen: int | None
    curve: Sequence[float]
    planned: int

    @property
    def is_whole(self) -> bool:
        """Whether it trained for all its epochs."""
        return len(self.curve) >= self.planned


@dataclass(frozen=True)
class Sweep:
    """Runs with the same validation and test splits, the best on validation first.

    monitor: the validation metric that they are sorted by. keys: settings in which they differ, as `SweptRun.given` has
    them. unfinished: run directories that were left out because they have no result. facts: what was tested.
    """

    monitor: str
    keys: Sequence[str]
    runs: Sequence[SweptRun]
    unfinished: Sequence[Path]
    facts: Mapping[str, Any]

    def name(self, run: SweptRun) -> str:
        """Return the name of the folder of a run, or its path if several folders have that name."""
        alone = sum(other.path.name == run.path.name for other in self.runs) == 1
        return run.path.name if alone else str(run.path)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return {
            "facts": dict(self.facts),
            "sorted_by": f"validation {self.monitor}",
            "settings": list(self.keys),
            "runs": [
                {
                    "run": str(run.path),
                    "given": dict(run.given),
                    "chosen_epoch": run.chosen,
                    "epochs": len(run.curve),
                    "planned_epochs": run.planned,
                    "validation": dict(run.validation),
                    "test": dict(run.test),
                    "curve": list(run.curve),
                }
                for run in self.runs
            ],
            "unfinished": [str(path) for path in self.unfinished],
        }


def is_sweep(paths: Sequence[Path]) -> bool:
    """Return whether to list runs in one table: trials of an Optuna sweep, or more groups than `compare_runs` takes."""
    if any((path.parent / TRIALS).is_file() for path in paths):
        return True
    finished = [path for path in paths if RunDirectory(path).summary.is_file()]
    if len(finished) <= GROUPS:
        return False
    groups: list[Mapping[str, Any]] = []
    for path in finished:
        if (settings := read_run(path).settings) not in groups:
            groups.append(settings)
    return len(groups) > GROUPS


def read_sweep(paths: Sequence[Path]) -> Sweep:
    """Read runs one after another and sort them by the monitored metric of the first.

    Raises RunError for fewer than two that have ended, or runs with another validation subset or another test.
    """
    finished = [path for path in paths if RunDirectory(path).summary.is_file()]
    if len(finished) < 2:
        raise RunError(f"a comparison needs two finished runs or more; found {len(finished)} of {len(paths)}")
    first = read_record(finished[0])
    monitor, first_tested = first.config.monitor, tested_run(first)
    runs, settings = [], []
    for path in finished:
        record = read_record(path)  # one at a time: the answers of hundreds do not fit into memory
        tested = tested_run(record)
        require_one_test([first_tested, tested])
        _require_one_validation(first, record)
        runs.append(_swept(record, tested.result.metrics, monitor))
        settings.append({"seed": tested.seed, **tested.settings})
    given = _told_apart([_overrides(RunDirectory(path)) for path in finished], settings)
    keys = list(dict.fromkeys(key for row in given for key in row))
    told = [{key: row.get(key) for key in keys} for row in given]
    swept = [SweptRun(**{**vars(run), "given": row}) for run, row in zip(runs, told, strict=True)]
    swept.sort(key=lambda run: (-run.validation[monitor], len(run.path.name), run.path.name))
    return Sweep(
        monitor, keys, swept, [path for path in paths if path not in finished], dict(first_tested.result.facts)
    )


def _swept(record: RunRecord, test: Mapping[str, float], monitor: str) -> SweptRun:
    return SweptRun(
        record.path,
        {},
        read_result(record.directory, "val", record.best).metrics,
        test,
        record.selection.chosen_epoch if record.selection else None,
        [line.metrics[monitor] for line in record.epochs],
        int(record.config.trainer["max_epochs"]),
    )


def _require_one_validation(first: RunRecord, other: RunRecord) -> None:
    """Raise RunError if two runs have different validation images: their metrics cannot be sorted then."""
    used = pl.col("val_query") | pl.col("val_gallery")
    mine, theirs = (record.splits.select(VALIDATION).filter(used).sort("path") for record in (first, other))
    if not mine.equals(theirs):
        common = len(set(mine["path"]) & set(theirs["path"]))
        raise RunError(
            f"{first.path} and {other.path} chose their epochs on different validation images ({mine.height} and "
            f"{theirs.height}, {common} of them in both), so they cannot be sorted by it. Compare runs of one split"
        )


def _overrides(run: RunDirectory) -> dict[str, str]:
    """Return the overrides of a run that its metrics can depend on."""
    words = shlex.split(read_environment(run).command)
    found = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    left_out = {*NOT_SETTINGS, "hydra"} - {"seed"}
    return {key: value.strip("'\"") for key, value in found.items() if not _below(key, left_out)}


def _below(key: str, above: set[str]) -> bool:
    return any(f"{key.replace('/', '.')}.".startswith(f"{name}.") for name in above)


def _told_apart(
    overrides: Sequence[Mapping[str, str]], settings: Sequence[Mapping[str, Any]]
) -> list[dict[str, str | None]]:
    """Return the settings that differ, as overrides where possible (`loss=triplet`, not every key that it sets).

    Where runs with the same words have different settings, the words do not say it, and the settings themselves are
    taken: the configurations changed in between.
    """
    given = _differing(overrides)
    meant = defaultdict(list)
    for words, found in zip(given, settings, strict=True):
        meant[tuple(words.items())].append(found)
    if all(found == alike[0] for alike in meant.values() for found in alike):
        return given
    return _differing([{key: _plain(value) for key, value in found.items()} for found in settings])


def _differing(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str | None]]:
    keys = dict.fromkeys(key for row in rows for key in row)
    kept = [key for key in keys if len({row.get(key) for row in rows}) > 1]
    return [{key: row.get(key) for key in kept} for row in rows]


def _plain(value: Any) -> str:
    """Return a value as it is written on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
