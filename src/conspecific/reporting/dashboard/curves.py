"""The learning curves of the runs of one task, in pixels of a plot of 640 x 216."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from conspecific.reporting.page.line import Line
from conspecific.reporting.page.wording import number, plural
from conspecific.runs.overview import ListedRun

LEFT, RIGHT, TOP, BOTTOM = 44, 630, 10, 190
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)  # between two horizontal lines


@dataclass(frozen=True, slots=True)
class Curves:
    """All curves of a task. levels, across: ticks of both axes. lines: the best run last, so that it is on top."""

    task: str
    metric: str
    levels: tuple[tuple[float, str], ...]
    across: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    summary: str


def task_name(runs: Sequence[ListedRun]) -> str:
    """Return what the runs of a task were tested on, in words."""
    run = runs[0]
    return f"{run.data}, {run.protocol}, {plural(run.queries, 'query', 'queries')}, {plural(len(runs), 'run')}"


def curves(runs: Sequence[ListedRun]) -> Curves | None:
    """Return the curves of runs, the best on validation first; None where none has two epochs."""
    trained = [run for run in runs if len(run.curve) > 1]
    if not trained:
        return None
    values = [value for run in trained for _, value in run.curve]
    epochs = [epoch for run in trained for epoch, _ in run.curve]
    low, high = min(values), max(values)
    step = next((step for step in STEPS if (high - low) / step <= 5), 0.5)
    low, high = math.floor(low / step) * step, max(math.ceil(high / step), math.floor(low / step) + 1) * step
    first, last = min(epochs), max(epochs)

    def x(epoch: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * (epoch - first) / max(1, last - first), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    lines = []
    for run in reversed(trained):
        places = [(x(epoch), y(value)) for epoch, value in run.curve]
        role, title = "best" if run is trained[0] else "whole", f"{run.name}: {number(run.curve[-1][1])}"
        lines.append(Line(role, " ".join(f"{across},{up}" for across, up in places), places[-1], title))
    levels = [low + step * place for place in range(round((high - low) / step) + 1)]
    every = max(1, math.ceil((last - first) / 10))
    best = trained[0]
    return Curves(
        task_name(runs),
        best.monitor,
        tuple((y(level), f"{level:.2f}") for level in levels),
        tuple((x(epoch), str(epoch)) for epoch in range(first, last + 1, every)),
        tuple(lines),
        f"{best.monitor} of {plural(len(trained), 'run')} over {last} epochs, from {number(min(values))} to "
        f"{number(max(values))}; the best run, {best.name}, ends at {number(best.curve[-1][1])}",
    )
