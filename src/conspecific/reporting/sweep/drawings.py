"""The plots of the sweep page, in pixels: the validation metric against each setting, and the learning curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from matplotlib.ticker import LogLocator, MaxNLocator

from conspecific.reporting.page.line import Line
from conspecific.reporting.page.wording import DASH, number
from conspecific.runs.sweeps import Sweep, SweptRun

Ticks = tuple[tuple[float, str], ...]

LEFT, RIGHT, TOP, BOTTOM = 44, 350, 10, 190  # the frame of a numeric setting, in 360 x 216 pixels
ROW = 24  # height of a row, where the values are not numbers
MOST = 640  # width of the learning curves
BY_MAGNITUDE = 20  # ratio of the largest to the smallest value from which the axis is logarithmic
SPREAD = 4  # scores further below the best than this multiple of the median's distance are drawn at the edge


@dataclass(frozen=True, slots=True)
class Dot:
    """One run. role: 'best', 'whole' or 'stopped'. is_below: whether its score is below the frame."""

    x: float
    y: float
    role: str
    is_below: bool
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The score against one setting. across, levels: ticks of both axes. summary: the plot in words."""

    key: str
    is_numbers: bool
    width: int
    height: int
    across: Ticks
    levels: Ticks
    dots: tuple[Dot, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Curves:
    """All learning curves. lines: the best run last, so that it is on top."""

    across: Ticks
    levels: Ticks
    lines: tuple[Line, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, from `low` at `start` to `high` at `end`, and clips values outside."""

    low: float
    high: float
    start: float
    end: float
    by_magnitude: bool = False

    def place(self, value: float, beyond: bool = False) -> float:
        """Return the position of a value. beyond: do not clip it, for a line that the SVG clips."""
        low, high, at = (math.log(each) if self.by_magnitude else each for each in (self.low, self.high, value))
        share = (at - low) / (high - low)
        return round(self.start + (self.end - self.start) * (share if beyond else min(max(share, 0.0), 1.0)), 1)

    def ticks(self, most: int) -> Ticks:
        """Return round values inside with their positions."""
        kept = self._rounded(most)
        texts = [f"{at:.6g}" for at in kept]
        digits = 0 if self.by_magnitude else max((len(text.partition(".")[2]) for text in texts), default=0)
        return tuple(
            (self.place(at), f"{at:.{digits}f}" if digits else text) for at, text in zip(kept, texts, strict=True)
        )

    def _rounded(self, most: int) -> list[float]:
        """Return round values inside, at most one more than `most` where that is possible."""
        dense = [LogLocator(subs=subs, numticks=99) for subs in ((1, 2, 5), (1, 3), (1,))]
        for locator in dense if self.by_magnitude else [MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])]:
            values = [float(at) for at in locator.tick_values(self.low, self.high) if self.low <= at <= self.high]
            if len(values) <= most + 1:
                break
        return values


def drawings(sweep: Sweep) -> list[Drawing]:
    """Return a plot of the validation metric against each setting that differs."""
    scores = _score_range(sweep)
    return [
        _numbers(sweep, key, values, scores) if (values := _as_numbers(sweep.runs, key)) else _names(sweep, key, scores)
        for key in sweep.keys
    ]


def curves(sweep: Sweep) -> Curves | None:
    """Return the validation metric after every epoch of every run; None where no run has two epochs."""
    drawn = [run for run in sweep.runs if run.curve]
    epochs = max((len(run.curve) for run in drawn), default=0)
    if epochs < 2:
        return None
    low, high = _score_range(sweep)
    across, up = Scale(1, epochs, LEFT, MOST - 14), Scale(low, high, BOTTOM, TOP)
    lines = []
    for run in reversed(drawn):
        points = [(across.place(place), up.place(value, beyond=True)) for place, value in enumerate(run.curve, start=1)]
        text = " ".join(f"{x},{y}" for x, y in points)
        role = _role(sweep, run)
        end = points[run.chosen - 1] if role == "best" and run.chosen else points[-1]
        lines.append(Line(role, text, end, _title(sweep, run)))
    ticks = tuple((across.place(epoch), str(epoch)) for epoch in _whole_steps(epochs))
    best = sweep.runs[0]
    summary = f"validation {sweep.monitor} after every epoch; best run {number(best.validation[sweep.monitor])}"
    return Curves(ticks, up.ticks(4), tuple(lines), f"{summary} at epoch {best.chosen or DASH}")


def _numbers(sweep: Sweep, key: str, values: Sequence[float], scores: tuple[float, float]) -> Drawing:
    low, high = min(values), max(values)
    by_magnitude = low > 0 and high / low >= BY_MAGNITUDE
    across = Scale(low, high, LEFT + 8, RIGHT - 8, by_magnitude)
    up = Scale(*scores, BOTTOM, TOP)
    dots = [_dot(sweep, run, across.place(value), up) for run, value in zip(sweep.runs, values, strict=True)]
    summary = f"{key} from {low:.3g} to {high:.3g}: the best run has {values[0]:.3g}"
    return Drawing(key, True, 360, 216, across.ticks(4), up.ticks(4), tuple(reversed(dots)), summary)


def _names(sweep: Sweep, key: str, scores: tuple[float, float]) -> Drawing:
    """Return a plot with a row for each value, the value of the best run first."""
    values = list(dict.fromkeys(run.given[key] for run in sweep.runs))
    left = min(170, 16 + 7 * max(len(_short(value)) for value in values))
    along = Scale(*scores, left + 8, RIGHT - 8)
    middles = {value: TOP + ROW * place + ROW / 2 for place, value in enumerate(values)}
    dots = []
    for run in sweep.runs:
        score = run.validation[sweep.monitor]
        is_below = score < along.low
        dots.append(Dot(along.place(score), middles[run.given[key]], _role(sweep, run), is_below, _title(sweep, run)))
    bottom = TOP + ROW * len(values)
    levels = tuple((middles[value], _short(value)) for value in values)
    summary = f"{key}: the best run has {_short(values[0])}"
    return Drawing(key, False, 360, bottom + 26, along.ticks(3), levels, tuple(reversed(dots)), summary)


def _dot(sweep: Sweep, run: SweptRun, x: float, up: Scale) -> Dot:
    score = run.validation[sweep.monitor]
    return Dot(x, up.place(score), _role(sweep, run), score < up.low, _title(sweep, run))


def _score_range(sweep: Sweep) -> tuple[float, float]:
    """Return the range of scores without outliers far below the best, which would compress all others."""
    found = [run.validation[sweep.monitor] for run in sweep.runs]
    best, apart = max(found), max(max(found) - median(found), 0.005)
    low = min(score for score in found if score >= best - SPREAD * apart)
    margin = max(best - low, 0.01) / 12
    return low - margin, best + margin


def _role(sweep: Sweep, run: SweptRun) -> str:
    return "best" if run is sweep.runs[0] else "whole" if run.is_whole else "stopped"


def _title(sweep: Sweep, run: SweptRun) -> str:
    return f"{sweep.name(run)}: {number(run.validation[sweep.monitor])}"


def _as_numbers(runs: Sequence[SweptRun], key: str) -> list[float]:
    """Return the values of a setting as numbers; empty unless all are numbers and at least four are distinct."""
    try:
        values = [float(run.given[key] or "") for run in runs]
    except ValueError:
        return []
    return values if len(set(values)) >= 4 and all(map(math.isfinite, values)) else []


def _short(value: str | None) -> str:
    text = DASH if value is None else shown(value)
    return text if len(text) <= 22 else f"{text[:21]}…"


def shown(value: str | None) -> str:
    """Return a value as tables show it: a sampled number with three digits, a dash for a setting without override.

    >>> shown("0.00037861878865"), shown("1e-3"), shown("arcface"), shown("1000000000")
    ('0.000379', '1e-3', 'arcface', '1000000000')
    """
    if value is None:
        return DASH
    try:
        return f"{float(value):.3g}" if "." in value and len(value) > 8 else value
    except ValueError:
        return value


def short_names(keys: Sequence[str]) -> Mapping[str, str]:
    """Return the last part of each dotted name, or the whole name where the part is not unique.

    >>> dict(short_names(["loss.loss.margin", "data.seed", "seed"]))
    {'loss.loss.margin': 'margin', 'data.seed': 'data.seed', 'seed': 'seed'}
    """
    last = {key: key.rpartition(".")[2] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def _whole_steps(epochs: int) -> list[int]:
    step = max(1, math.ceil(epochs / 12))
    return list(range(1, epochs + 1, step))
