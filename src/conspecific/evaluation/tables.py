"""Results as tables for the terminal, 80 columns wide at most."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from conspecific.evaluation.compare import Difference
from conspecific.metrics import Interval

NOTE = "Intervals over queries{queries}, below over species{species}{seeds}; p by sign flips{groups}"
COUNTS = " (these count)"


def epoch_table(title: str, rows: Mapping[str, Mapping[str, float]], gains: Mapping[str, Interval]) -> Table:
    """A row for each metric of the last of `rows`: its value under each name, and what was gained where that is known.

    rows: name -> metric -> value; every name has the metrics of the last.
    """
    table = plain_table(title, ["metric", *rows, *(["gain", "95 % interval"] if gains else [])])
    for metric in list(rows.values())[-1]:
        values = [f"{found[metric]:.3f}" for found in rows.values()]
        table.add_row(metric, *values, *([_gain(gains[metric]), span(gains[metric])] if gains else []))
    return table


def difference_table(
    title: str,
    names: tuple[str, str],
    differences: Sequence[Difference],
    over_seeds: Mapping[str, Interval | None] | None = None,
    adjusted: bool = False,
) -> Table:
    """A row for each metric: both values, the gain, its intervals over queries, species and, where they are given, over
    seeds below each other, the p-value, and how many queries won, lost and stayed.

    names: of `value` and of `other`. adjusted: whether the p-values are, for the number of groups.
    """
    table = plain_table(title, ["metric", names[1], names[0], "gain", "95 % interval", "p", "won", "lost", "same"])
    seeds = {metric: found for metric, found in (over_seeds or {}).items() if found is not None}
    groups = ", adjusted for the number of groups" if adjusted else ""
    over_species = any(found.over_species for found in differences)
    table.caption = NOTE.format(
        queries="" if over_species else COUNTS,
        species=COUNTS if over_species else "",
        seeds=", then over seeds" if seeds else "",
        groups=groups,
    )
    table.caption_justify, table.caption_style = "left", "dim"
    for found in differences:
        intervals = [found.by_query, found.by_species, *([seeds[found.metric]] if seeds else [])]
        table.add_row(
            found.metric,
            f"{found.other:.3f}",
            f"{found.value:.3f}",
            _gain(found.interval),
            "\n".join(map(span, intervals)),
            p_value(found.p_value),
            *map(str, (found.won, found.lost, found.unchanged)),
        )
    return table


def plain_table(title: str, columns: Sequence[str]) -> Table:
    """A table without frame: the first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = False
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def span(interval: Interval) -> str:
    """The bounds of an interval of differences, short enough for two thousand queries' counts beside it."""
    return f"{_signed(interval.low)}…{_signed(interval.high)}"


def p_value(found: float) -> str:
    """A p-value with the digits that ten thousand permutations can give.

    >>> p_value(0.04312), p_value(1 / 10_001)
    ('0.043', '<0.001')
    """
    return "<0.001" if found < 0.001 else f"{found:.3f}"


def _gain(interval: Interval) -> str:
    """The difference, coloured only where it is not for chance to explain."""
    colour = "default" if interval.holds_zero else "green" if interval.mean > 0 else "red"
    return f"[{colour}]{_signed(interval.mean)}[/]"


def _signed(value: float) -> str:
    """Three digits with a sign, never a negative zero."""
    return f"{round(value, 3) + 0.0:+.3f}"
