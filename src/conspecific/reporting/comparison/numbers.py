"""The numbers of the comparison page: tables, drawings and differences, as text and positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from conspecific.evaluation.compare import Difference
from conspecific.metrics import Interval
from conspecific.reporting.page.wording import DASH, explain, number
from conspecific.reporting.run.numbers import Statistic, span, statistic
from conspecific.runs.groups import Comparison, Contrast, Group

SURE_BELOW = 0.05  # p from which a difference counts as possible chance
SIDE_BY_SIDE = 4  # groups that fit beside each other as columns; more become rows
LEFT, RIGHT, ROW, AXIS = 30, 258, 26, 26  # of a panel, in pixels: where its line begins and ends, heights


@dataclass(frozen=True, slots=True)
class Row:
    """One difference by its name (of the metric, or of the group). verdict: 'better', 'worse' or 'unsure'."""

    name: str
    verdict: str
    over_seeds: str
    known: Statistic


@dataclass(frozen=True, slots=True)
class Dots:
    """One group in a panel, in pixels. interval: its two ends, and whether each is its own and not the frame's."""

    letter: str
    role: str
    value: str
    middle: int
    seeds: tuple[float, ...]
    mean: float
    interval: tuple[float, float, bool, bool] | None


@dataclass(frozen=True, slots=True)
class Frame:
    """What a panel's line stands for, from its beginning to its end."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        return round(LEFT + (RIGHT - LEFT) * (value - self.low) / (self.high - self.low), 1)

    def cut(self, interval: Interval | None) -> tuple[float, float, bool, bool] | None:
        """Return an interval as `Dots` has it."""
        if interval is None:
            return None
        low, high = max(interval.low, self.low), min(interval.high, self.high)
        return self.place(low), self.place(high), interval.low >= self.low, interval.high <= self.high


@dataclass(frozen=True, slots=True)
class Panel:
    """One metric drawn: a row a group. ticks: position and text. summary: the drawing in words."""

    metric: str
    height: int
    rows: tuple[Dots, ...]
    ticks: tuple[tuple[float, str], ...]
    summary: str


def verdict(found: Difference) -> str:
    """Return 'better' or 'worse' where neither interval nor (adjusted) p leave it to chance, otherwise 'unsure'."""
    if not found.is_significant or found.p_value >= SURE_BELOW:
        return "unsure"
    return "better" if found.interval.mean > 0 else "worse"


def settings_table(found: Comparison) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Columns and rows of the settings that differ: groups are columns unless they are many and the settings few."""
    letters = [group.letter for group in found.groups]
    rows = [(name, _written(values)) for name, values in found.settings.items()]
    if len(letters) <= max(SIDE_BY_SIDE, len(rows)):
        return letters, rows
    turned = zip(*(values for _, values in rows), strict=True)
    return [name for name, _ in rows], [(letter, list(values)) for letter, values in zip(letters, turned, strict=False)]


def _written(values: Sequence[Any]) -> list[str]:
    """As on the command line; of dotted names the last part alone, where that is enough to tell them apart."""
    texts = [_plain(value) for value in values]
    short = [
        text.rpartition(".")[2] if all(part.isidentifier() for part in text.split(".")) else text for text in texts
    ]
    return short if len(set(short)) == len(set(texts)) else texts


def _plain(value: Any) -> str:
    return DASH if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def score_table(found: Comparison) -> tuple[list[str], list[tuple[str, str, list[tuple[str, str, str, bool]]]]]:
    """Columns, and rows: name, sentence, and for each column the mean, deviation, interval, and whether it is best.

    The groups are columns where they are few, rows where they are many.
    """
    cells = {metric: [_score(group, metric, found) for group in found.groups] for metric in found.metrics}
    if len(found.groups) <= SIDE_BY_SIDE:
        return [group.letter for group in found.groups], [(name, explain(name), row) for name, row in cells.items()]
    rows = [(group.letter, "", [row[place] for row in cells.values()]) for place, group in enumerate(found.groups)]
    return found.metrics, rows


def _score(group: Group, metric: str, found: Comparison) -> tuple[str, str, str, bool]:
    mean, deviation, interval = group.means[metric], group.deviations[metric], group.intervals[metric]
    bounds = f"{number(interval.low)} to {number(interval.high)}" if interval else ""
    is_best = mean == max(other.means[metric] for other in found.groups)
    return number(mean), "" if deviation is None else f"± {number(deviation)}", bounds, is_best


def panel(found: Comparison, metric: str, roles: Mapping[str, str]) -> Panel:
    """Return one metric as dots for the runs, a bar for their mean, and a line for its interval.

    roles: letter of the group -> 'baseline', 'model' or 'pooled', after which the page colours it.
    """
    frame = _frame(found, metric)
    rows = tuple(
        Dots(
            group.letter,
            roles[group.letter],
            number(group.means[metric]),
            ROW * place + ROW // 2,
            tuple(frame.place(run.result.metrics[metric]) for run in group.runs) if len(group.runs) > 1 else (),
            frame.place(group.means[metric]),
            frame.cut(group.intervals[metric]),
        )
        for place, group in enumerate(found.groups)
    )
    steps = [float(at) for at in MaxNLocator(4).tick_values(frame.low, frame.high)]
    digits = 2 if steps[1] - steps[0] > 0.0099 else 3
    ticks = tuple((frame.place(at), number(at, digits)) for at in steps if frame.low <= at <= frame.high)
    summary = f"{metric}: " + ", ".join(f"{row.letter} {row.value}" for row in rows)
    return Panel(metric, ROW * len(rows) + AXIS, rows, ticks, summary)


def _frame(found: Comparison, metric: str) -> Frame:
    """A frame that holds all runs. An interval goes as far beyond them as they lie apart, and is cut there: that of
    two seeds may be wider than everything else."""
    runs = [run.result.metrics[metric] for group in found.groups for run in group.runs]
    intervals = [interval for group in found.groups if (interval := group.intervals[metric])]
    apart = max(max(runs) - min(runs), 0.02)
    low = max(min([*runs, *(interval.low for interval in intervals)]), min(runs) - apart, 0.0)
    high = min(max([*runs, *(interval.high for interval in intervals)]), max(runs) + apart, 1.0)
    return Frame(low - apart / 12, high + apart / 12)


def row(contrast: Contrast, metric: str, name: str) -> Row:
    """Return what is known of one metric of a contrast, under a name."""
    found, over_seeds = difference_of(contrast, metric), contrast.over_seeds[metric]
    return Row(name, verdict(found), span(over_seeds) if over_seeds else DASH, statistic(found))


def difference_of(contrast: Contrast, metric: str) -> Difference:
    """Return the difference of one metric."""
    return next(found for found in contrast.differences if found.metric == metric)
