"""The settings in which runs of one task differ, and how runs with each value did on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

from conspecific.reporting.dashboard.curves import task_name
from conspecific.reporting.page.wording import number
from conspecific.runs.overview import ListedRun, differing

VALUES = 6  # values of a setting that are listed, the best first


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a setting. best, mean: the monitored metric on validation over the runs that have it."""

    text: str
    runs: int
    best: str
    mean: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting. alike: other settings that divide the runs in the same way. more: number of values not listed."""

    key: str
    alike: tuple[str, ...]
    values: tuple[Value, ...]
    more: int


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """The settings in which the runs of a task differ."""

    task: str
    metric: str
    settings: tuple[Setting, ...]


def settings_of_task(runs: Sequence[ListedRun]) -> TaskSettings | None:
    """Return the settings that differ between the runs of a task; None where there are none."""
    divisions: dict[tuple[int, ...], list[str]] = {}
    for key in differing(runs):
        numbers: dict[str | None, int] = {}
        division = tuple(numbers.setdefault(run.settings.get(key), len(numbers)) for run in runs)
        divisions.setdefault(division, []).append(key)
    found = tuple(_setting(keys, runs) for keys in divisions.values())
    return TaskSettings(task_name(runs), runs[0].monitor, found) if found else None


def _setting(keys: Sequence[str], runs: Sequence[ListedRun]) -> Setting:
    scores: dict[str | None, list[float]] = {}
    for run in runs:  # the best first, and so are the values
        scores.setdefault(run.settings.get(keys[0]), []).append(run.score)
    values = [
        Value(_text(keys[0], value), len(each), number(each[0]), number(sum(each) / len(each)))
        for value, each in scores.items()
    ]
    return Setting(keys[0], tuple(keys[1:]), tuple(values[:VALUES]), max(0, len(values) - VALUES))


def _text(key: str, value: str | None) -> str:
    """Return a value as the table shows it, a class without its module."""
    if value is None:
        return "not set"
    return value.rpartition(".")[2] if key.endswith("_target_") else value
