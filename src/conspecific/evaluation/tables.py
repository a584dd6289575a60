"""Results as tables of at most 80 columns, for the terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from conspecific.evaluation.compare import Difference
from conspecific.metrics import Interval
from conspecific.progress import format_duration
from conspecific.tables import plain_table

NAMES = {"flatten": "the flatten baseline", "pooled": "the pooled reference"}
NOTE = "Intervals over {unit}{queries}, below over species{species}{seeds}; p by sign flips{groups}"
COUNTS = " (these count)"


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One epoch as it is printed.

    gain: of the monitored metric over the better reference; None where it has no interval. rate: the highest learning
    rate of its last step. seconds: its duration. left: estimated seconds to the end of training.
    """

    epoch: int
    loss: float
    metrics: Mapping[str, float]
    gain: Interval | None
    rate: float
    seconds: float
    left: float


def epochs_table(title: str, rows: Sequence[EpochRow], metrics: Sequence[str], best: int) -> Table:
    """Return a table with one row for each epoch; the row of the epoch `best` is bold and marked with a star."""
    columns = ["epoch", "loss", *metrics, "gain", "95 % interval", "lr", "time", "left"]
    table = plain_table(title, columns)
    table.columns[0].justify, table.padding = "right", (0, 0, 0, 0)  # ten columns leave one space between them
    for row in rows:
        gain = ("", "") if row.gain is None else (_gain(row.gain), format_interval(row.gain))
        table.add_row(
            f"*{row.epoch}" if row.epoch == best else str(row.epoch),
            f"{row.loss:.3f}",
            *(f"{row.metrics[name]:.3f}" for name in metrics),
            *gain,
            f"{row.rate:.0e}",
            format_duration(row.seconds),
            format_duration(row.left),
            style="bold" if row.epoch == best else None,
        )
    return table


def epoch_line(row: EpochRow, epochs: int, metrics: Sequence[str], reference: str, best: bool) -> str:
    """Return one of `epochs` epochs as a line of text, for a file. reference: what `row.gain` is over."""
    values = "  ".join(f"{name} {row.metrics[name]:.3f}" for name in metrics)
    gain = "" if row.gain is None else f"  gain over {reference} {_signed(row.gain.mean)} ({format_interval(row.gain)})"
    time = f"{format_duration(row.seconds)}, {format_duration(row.left)} left"
    star = "  best so far" if best else ""
    return f"Epoch {row.epoch} of {epochs}  loss {row.loss:.3f}  {values}{gain}  lr {row.rate:.0e}  {time}{star}"


def difference_table(
    title: str,
    names: tuple[str, str],
    differences: Sequence[Difference],
    over_seeds: Mapping[str, Interval | None] | None = None,
    adjusted: bool = False,
) -> Table:
    """Return a table with one row for each metric.

    A row has both values, the gain, the p-value, the numbers of queries that won, lost and stayed the same, and, below
    each other, the intervals over queries, species and, where they are given, seeds.
    names: of `value` and of `other`. adjusted: whether the p-values are adjusted for the number of groups.
    """
    table = plain_table(title, ["metric", names[1], names[0], "gain", "95 % interval", "p", "won", "lost", "same"])
    seeds = {metric: found for metric, found in (over_seeds or {}).items() if found is not None}
    groups = ", adjusted for the number of groups" if adjusted else ""
    over_species = any(found.over_species for found in differences)
    grouped = any(found.grouped for found in differences)
    table.caption = NOTE.format(
        unit="groups of queries" if grouped else "queries",
        queries="" if over_species else COUNTS,
        species=COUNTS if over_species else "",
        seeds=", then over seeds" if seeds else "",
        groups=groups,
    )
    table.caption_justify, table.caption_style = "left", "dim"
    for found in differences:
        intervals = [format_interval(found.by_query), format_interval(found.by_species)]
        if seeds:
            intervals.append(format_interval(seeds[found.metric]) if found.metric in seeds else "none")
        table.add_row(
            found.metric,
            f"{found.other:.3f}",
            f"{found.value:.3f}",
            _gain(found.interval),
            "\n".join(intervals),
            format_p_value(found.p_value),
            *map(str, (found.won, found.lost, found.unchanged)),
        )
    return table


def format_interval(interval: Interval, signed: Callable[[float], str] | None = None) -> str:
    """Return the bounds of an interval of differences. signed: writes a bound; None writes three digits.

    >>> format_interval(Interval(0.1, 0.05, 0.15))
    '+0.050…+0.150'
    """
    write = signed or _signed
    return f"{write(interval.low)}…{write(interval.high)}"


def format_p_value(found: float) -> str:
    """Return a p-value with the digits that ten thousand permutations can give.

    >>> format_p_value(0.04312), format_p_value(1 / 10_001)
    ('0.043', '<0.001')
    """
    return "<0.001" if found < 0.001 else f"{found:.3f}"


def _gain(interval: Interval) -> Text:
    """Return the difference, coloured where its interval excludes zero."""
    colour = "default" if interval.holds_zero else "green" if interval.mean > 0 else "red"
    return Text(_signed(interval.mean), colour)


def _signed(value: float) -> str:
    """Return three digits with a sign, never a negative zero."""
    return f"{round(value, 3) + 0.0:+.3f}"
