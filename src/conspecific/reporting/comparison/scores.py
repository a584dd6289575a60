"""The metrics of every group, as a table and as plots."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from conspecific.metrics import Interval
from conspecific.reporting.comparison.settings import SIDE_BY_SIDE
from conspecific.reporting.page.wording import explain, number
from conspecific.runs.groups import Comparison, Group

LEFT, RIGHT, ROW, AXIS = 8, 258, 42, 26  # of a plot, in pixels: ends of its axis, height of a row and of the axis


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one group: mean, standard deviation and interval (empty for one run). is_best: of all groups."""

    mean: str
    deviation: str
    bounds: str
    is_best: bool


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One metric with its definition, or one group. name: of the metric or the group."""

    name: str
    sentence: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Metrics and groups, one in columns and the other in rows."""

    columns: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    has_group_columns: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval in pixels. ends_left, ends_right: whether its end is inside the plot."""

    left: float
    right: float
    ends_left: bool
    ends_right: bool


@dataclass(frozen=True, slots=True)
class Dots:
    """One group in a plot, in pixels. seeds: its runs, empty for one run."""

    name: str
    role: str
    value: str
    middle: int
    seeds: tuple[float, ...]
    mean: float
    interval: Bar | None


@dataclass(frozen=True, slots=True)
class Frame:
    """The values at both ends of a plot's axis."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return the position of a value in pixels."""
        return round(LEFT + (RIGHT - LEFT) * (value - self.low) / (self.high - self.low), 1)

    def bar(self, interval: Interval | None) -> Bar | None:
        """Return an interval, clipped to the frame."""
        if interval is None:
            return None
        low, high = max(interval.low, self.low), min(interval.high, self.high)
        return Bar(self.place(low), self.place(high), interval.low >= self.low, interval.high <= self.high)


@dataclass(frozen=True, slots=True)
class Panel:
    """The plot of one metric, a row for each group. ticks: position and text. summary: the plot in words."""

    metric: str
    height: int
    rows: tuple[Dots, ...]
    ticks: tuple[tuple[float, str], ...]
    summary: str


def score_table(found: Comparison) -> ScoreTable:
    """Return every metric of every group; groups are columns, or rows where there are many."""
    letters, metrics = tuple(group.letter for group in found.groups), tuple(found.metrics)
    if len(letters) <= SIDE_BY_SIDE:
        by_metric = [
            ScoreRow(metric, explain(metric), tuple(_score(group, metric, found) for group in found.groups))
            for metric in metrics
        ]
        return ScoreTable(letters, tuple(by_metric), has_group_columns=True)
    by_group = [
        ScoreRow(group.letter, "", tuple(_score(group, metric, found) for metric in metrics)) for group in found.groups
    ]
    return ScoreTable(metrics, tuple(by_group), has_group_columns=False)


def _score(group: Group, metric: str, found: Comparison) -> Score:
    mean, deviation, interval = group.means[metric], group.deviations[metric], group.intervals[metric]
    return Score(
        number(mean),
        "" if deviation is None else f"± {number(deviation)}",
        f"{number(interval.low)} to {number(interval.high)}" if interval else "",
        is_best=mean == max(other.means[metric] for other in found.groups),
    )


def panel(found: Comparison, metric: str, roles: Mapping[str, str], names: Mapping[str, str]) -> Panel:
    """Return the plot of one metric: dots for runs, a bar for their mean, a line for the interval of the mean.

    roles, names: letter of the group -> the role that colors it, and what it is called.
    """
    frame = _frame(found, metric)
    rows = tuple(
        Dots(
            names[group.letter],
            roles[group.letter],
            number(group.means[metric]),
            ROW * place + 28,
            tuple(frame.place(run.result.metrics[metric]) for run in group.runs) if len(group.runs) > 1 else (),
            frame.place(group.means[metric]),
            frame.bar(group.intervals[metric]),
        )
        for place, group in enumerate(found.groups)
    )
    steps = [float(at) for at in MaxNLocator(4).tick_values(frame.low, frame.high)]
    digits = 2 if steps[1] - steps[0] > 0.0099 else 3
    ticks = tuple((frame.place(at), number(at, digits)) for at in steps if frame.low <= at <= frame.high)
    summary = f"{metric}: " + ", ".join(f"{row.name} {row.value}" for row in rows)
    return Panel(metric, ROW * len(rows) + AXIS, rows, ticks, summary)


def _frame(found: Comparison, metric: str) -> Frame:
    """Return a frame with all runs. Intervals are clipped at one range of the runs beyond them, because the interval of
    two seeds can be much wider than the differences between groups."""
    runs = [run.result.metrics[metric] for group in found.groups for run in group.runs]
    intervals = [interval for group in found.groups if (interval := group.intervals[metric])]
    apart = max(max(runs) - min(runs), 0.02)
    low = max(min([*runs, *(interval.low for interval in intervals)]), min(runs) - apart, 0.0)
    high = min(max([*runs, *(interval.high for interval in intervals)]), max(runs) + apart, 1.0)
    return Frame(low - apart / 12, high + apart / 12)
