"""Compare runs on one test split. Runs that differ only in their seed form one group."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from string import ascii_uppercase
from typing import Any

import numpy as np
from scipy import stats

from conspecific.errors import RunError
from conspecific.evaluation.compare import Difference, differences, paired_values
from conspecific.evaluation.tables import NAMES
from conspecific.metrics import Interval, holm
from conspecific.runs.tested import TestedRun, require_one_test

CONFIDENCE = 0.95
GROUPS = len(ascii_uppercase)  # one letter each


@dataclass(frozen=True)
class Group:
    """Runs with the same settings and different seeds.

    letter: its label in tables. name: a description of a reference; empty for trained runs.
    means: metric -> mean over the runs. deviations: metric -> standard deviation (n - 1), None for a single run.
    intervals: metric -> 95 % interval of the mean over seeds (Student's t), None for a single run, and where it spans
        more than the range of a metric, as that of two seeds may.
    """

    letter: str
    name: str
    runs: tuple[TestedRun, ...]
    means: Mapping[str, float]
    deviations: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]


@dataclass(frozen=True)
class Contrast:
    """A group compared with the first group: the values of each query are averaged over seeds, then paired.

    differences: one a metric. Their p-values are adjusted for the number of groups (Holm 1979).
    over_seeds: metric -> 95 % interval of the difference over seeds (Welch 1947), None if a group has a single run or
        the interval spans more than the range of a metric.
        It covers the variation between seeds, as the intervals of `differences` cover that between queries.
    """

    group: Group
    first: Group
    differences: Sequence[Difference]
    over_seeds: Mapping[str, Interval | None]


@dataclass(frozen=True)
class Comparison:
    """Groups, compared with the first of them, and the settings in which they differ.

    settings: name of the setting -> its value in each group.
    """

    groups: Sequence[Group]
    contrasts: Sequence[Contrast]
    settings: Mapping[str, Sequence[Any]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return {
            "facts": dict(self.facts),
            "groups": [
                {
                    "letter": group.letter,
                    "name": group.name,
                    "runs": [str(run.path) for run in group.runs],
                    "seeds": [run.seed for run in group.runs],
                    "means": dict(group.means),
                    "deviations": dict(group.deviations),
                    "intervals": {metric: found and asdict(found) for metric, found in group.intervals.items()},
                }
                for group in self.groups
            ],
            "contrasts": [
                {
                    "group": contrast.group.letter,
                    "against": contrast.first.letter,
                    "differences": [found.to_json() for found in contrast.differences],
                    "over_seeds": {metric: found and asdict(found) for metric, found in contrast.over_seeds.items()},
                }
                for contrast in self.contrasts
            ],
            "settings": {name: list(values) for name, values in self.settings.items()},
        }

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was tested: protocol, queries, gallery, species."""
        return self.groups[0].runs[0].result.facts

    @property
    def metrics(self) -> list[str]:
        """The metrics that every run has."""
        return list(self.groups[0].means)


def compare_runs(runs: Sequence[TestedRun]) -> Comparison:
    """Group runs by their settings and compare every group with the first, a single group with its reference.

    Raises RunError for fewer than two runs, more than 26 groups, or runs that were tested on different things.
    """
    if len(runs) < 2:
        raise RunError(f"a comparison needs two runs or more; found {len(runs)}")
    require_one_test(runs)
    members = _grouped(runs)
    if len(members) > GROUPS:
        raise RunError(
            f"{len(members)} different settings are too many to test against each other; {GROUPS} at most. sweep=true "
            "sorts any number by validation"
        )
    metrics = [name for name in runs[0].result.metrics if all(name in run.result.metrics for run in runs)]
    groups = [_group(letter, found, metrics) for letter, found in zip(ascii_uppercase, members, strict=False)]
    if len(groups) == 1:
        groups.insert(0, _reference(members[0][0], metrics))
    contrasts = _adjusted([_contrast(group, groups[0]) for group in groups[1:]])
    return Comparison(groups, contrasts, _different_settings(members))


def _grouped(runs: Sequence[TestedRun]) -> list[list[TestedRun]]:
    """Return runs of the same settings as lists; a run that also repeats a seed starts another list."""
    groups: list[list[TestedRun]] = []
    for run in runs:
        fitting = [
            group
            for group in groups
            if group[0].settings == run.settings and run.seed not in {member.seed for member in group}
        ]
        if fitting:
            fitting[0].append(run)
        else:
            groups.append([run])
    return groups


def _reference(run: TestedRun, metrics: Sequence[str]) -> Group:
    """Return the reference of a run as a group without training and seeds."""
    stands_for = NAMES[run.reference.facts["name"]]
    return _group("R", [replace(run, result=run.reference)], metrics, f"{stands_for}, not trained further")


def _group(letter: str, runs: Sequence[TestedRun], metrics: Sequence[str], name: str = "") -> Group:
    values = {metric: np.array([run.result.metrics[metric] for run in runs]) for metric in metrics}
    return Group(
        letter,
        name,
        tuple(runs),
        {metric: float(found.mean()) for metric, found in values.items()},
        {metric: float(found.std(ddof=1)) if len(runs) > 1 else None for metric, found in values.items()},
        {metric: _mean_interval(found) for metric, found in values.items()},
    )


def _contrast(group: Group, first: Group) -> Contrast:
    table, metrics = first.runs[0].result, list(first.means)
    queries = table.per_query.sort("path")
    mine, theirs = (
        np.mean([paired_values(table.per_query, run.result.per_query, metrics)[2] for run in side.runs], axis=0)
        for side in (group, first)
    )
    found = differences(metrics, queries, mine, theirs, over_species=table.facts["protocol"] == "unseen")
    over_seeds = {metric: _welch_interval(group, first, metric) for metric in metrics}
    return Contrast(group, first, found, over_seeds)


def _mean_interval(values: np.ndarray) -> Interval | None:
    if len(values) < 2:
        return None
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return _telling(Interval(mean, mean - half, mean + half))


def _welch_interval(group: Group, first: Group, metric: str) -> Interval | None:
    mine, theirs = ([run.result.metrics[metric] for run in side.runs] for side in (group, first))
    if min(len(mine), len(theirs)) < 2:
        return None
    mean = float(np.mean(mine) - np.mean(theirs))
    errors = np.array([np.var(side, ddof=1) / len(side) for side in (mine, theirs)])
    if errors.sum() < 1e-18:  # no more than rounding, by which Welch's degrees of freedom would divide
        return Interval(mean, mean, mean)
    freedom = errors.sum() ** 2 / (errors[0] ** 2 / (len(mine) - 1) + errors[1] ** 2 / (len(theirs) - 1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * errors.sum() ** 0.5)
    return _telling(Interval(mean, mean - half, mean + half))


def _telling(interval: Interval) -> Interval | None:
    """Return an interval, None where it spans more than the range of a metric, which is 1, and so excludes nothing."""
    return interval if interval.high - interval.low <= 1 else None


def _adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Adjust the p-values of each metric for the number of groups (Holm 1979)."""
    places = range(len(contrasts[0].differences))
    by_metric = [holm([contrast.differences[place].p_value for contrast in contrasts]) for place in places]
    return [
        replace(
            contrast,
            differences=[
                replace(found, p_value=by_metric[place][number]) for place, found in enumerate(contrast.differences)
            ],
        )
        for number, contrast in enumerate(contrasts)
    ]


def _different_settings(members: Sequence[Sequence[TestedRun]]) -> dict[str, list[Any]]:
    """Return the settings that differ between groups, with None for a group without the setting."""
    names = {name: None for group in members for name in group[0].settings}
    found = {name: [group[0].settings.get(name) for group in members] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}
