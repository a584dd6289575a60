"""Every run below a folder, read briefly: what tells it apart, its curve and its scores, without its tables."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from conspecific.config.compose import load_plain
from conspecific.errors import ConspecificError, RunError
from conspecific.evaluation.compare import Difference
from conspecific.runs.directory import RunDirectory
from conspecific.runs.names import data_name, loss_name
from conspecific.runs.record import (
    SelectedWeights,
    best_name,
    read_environment,
    read_epochs,
    read_scores,
    read_selection,
    read_summary,
)
from conspecific.runs.tested import settings_of
from conspecific.runs.verdict import Outcome, outcome_of, over_better_reference

DAMAGE = (ConspecificError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
Task = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A finished run.

    name: its path below the folder. data: name of the data set. monitor: the metric that epochs are chosen by.
    task: equal for runs whose scores can be compared, because images, protocol and splits are the same.
    validation, test: metric -> value of the kept weights. curve: epoch and monitored metric on validation.
    selection: None where nothing was trained. reference, gain, outcome: the better reference on test, the paired
    difference to it in the monitored metric, and what it says; None where the record does not have them.
    settings: dotted key -> value, for every key that metrics depend on; the seed too.
    """

    path: Path
    name: str
    data: str
    protocol: str
    backbone: str
    loss: str
    seed: int
    monitor: str
    task: Task
    queries: int
    species: int
    validation: Mapping[str, float]
    test: Mapping[str, float]
    curve: Sequence[tuple[int, float]]
    planned: int
    selection: SelectedWeights | None
    reference: str | None
    gain: Difference | None
    outcome: Outcome | None
    minutes: float
    data_root: Path
    settings: Mapping[str, str]

    @property
    def score(self) -> float:
        """The monitored metric on validation."""
        return self.validation[self.monitor]


@dataclass(frozen=True)
class Overview:
    """The runs below a folder. left_out: name and reason of each that has not ended, or is damaged."""

    folder: Path
    runs: Sequence[ListedRun]
    left_out: Sequence[tuple[str, str]]

    @cached_property
    def tasks(self) -> list[list[ListedRun]]:
        """The runs of each task, the best on validation first; the task with the most runs first."""
        found: dict[Task, list[ListedRun]] = defaultdict(list)
        for run in sorted(self.runs, key=lambda run: -run.score):
            found[(run.monitor, *run.task)].append(run)
        return sorted(found.values(), key=lambda runs: -len(runs))


def read_overview(folder: Path) -> Overview:
    """Read every run directory below a folder. Raises RunError where there is none."""
    found = _run_folders(folder)
    if not found:
        raise RunError(f"{folder} holds no run directory. Give the folder of your runs, such as runs")
    runs, left_out = [], []
    for path in found:
        name = path.relative_to(folder).as_posix() if path != folder else path.name
        try:
            runs.append(_listed(path, name))
        except DAMAGE as error:  # whatever one folder holds, the page over the others is written, and names it
            told = str(error) if isinstance(error, ConspecificError) else f"it is damaged ({error!r})"
            left_out.append((name, told.replace(f"{path} ", "", 1)))
    return Overview(folder, runs, left_out)


def _run_folders(folder: Path) -> list[Path]:
    """Return folders that hold a run, sorted by name; what is below a run, or hidden, is no run of its own."""
    found = []
    for place, inside, files in os.walk(folder):
        if "config.yaml" in files or "environment.json" in files:
            found.append(Path(place))
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
    return sorted(found)


def _listed(path: Path, name: str) -> ListedRun:
    run = RunDirectory(path)
    environment, summary, config = read_environment(run), read_summary(run), load_plain(run.config)
    selection, monitor, settings = read_selection(summary), str(config["monitor"]), _settings(config)
    best = best_name(selection is not None)
    test, validation = read_scores(run, "test", best), read_scores(run, "val", best)
    facts, protocol = test["facts"], str(config["protocol"])
    splits = tuple(f"{key}={value}" for key, value in settings.items() if key.startswith("split."))
    gains = {key: [Difference.from_json(each) for each in stored] for key, stored in summary["gains"].items()}
    over = over_better_reference(gains, monitor)
    scores = _numbers(validation["metrics"])
    if monitor not in scores:
        raise RunError(f"its validation has no {monitor}, by which its epochs were chosen")
    return ListedRun(
        path=path,
        name=name,
        data=data_name(config["data"], str(summary["data_root"])),
        protocol=protocol,
        backbone=str(config["model"].get("backbone", "")),
        loss=loss_name(config["loss"]),
        seed=int(config["seed"]),
        monitor=monitor,
        task=(environment.data_fingerprint, protocol, str(facts["queries"]), str(facts["gallery"]), *splits),
        queries=int(facts["queries"]),
        species=int(facts["species"]),
        validation=scores,
        test=_numbers(test["metrics"]),
        curve=_curve(run, monitor),
        planned=int(config["trainer"]["max_epochs"]),
        selection=selection,
        reference=over[0] if over else None,
        gain=over[1] if over else None,
        outcome=outcome_of(over[1], selection) if over and selection else None,
        minutes=float(summary["minutes"]),
        data_root=Path(str(summary["data_root"])),
        settings=settings,
    )


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings as text, the seed among them; a file's own paths say nothing of a method."""
    found = {"seed": config["seed"], **settings_of(config)}
    return {str(key): "null" if value is None else str(value) for key, value in found.items()}


def _curve(run: RunDirectory, monitor: str) -> list[tuple[int, float]]:
    found = [(int(epoch.epoch), epoch.metrics[monitor]) for epoch in read_epochs(run)]
    return [(epoch, float(value)) for epoch, value in found if math.isfinite(value)]


def _numbers(stored: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in stored.items() if math.isfinite(value)}


def differing(runs: Sequence[ListedRun]) -> dict[str, Counter[str | None]]:
    """Return the settings in which runs differ -> each value and how many runs have it, None where it is not set."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    found = {key: Counter(run.settings.get(key) for run in runs) for key in keys}
    return {key: values for key, values in found.items() if len(values) > 1}
