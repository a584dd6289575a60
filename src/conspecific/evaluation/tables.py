"""Results as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from conspecific.evaluation.compare import Difference
from conspecific.metrics import METRICS


def epoch_table(title: str, rows: Mapping[str, Mapping[str, float]], baseline: str, model: str) -> Table:
    """A row for each named set of metrics, then the difference of `model` to `baseline`; 77 columns wide."""
    table = _table(title, ["", *METRICS])
    table.padding = 0  # so that 80 columns hold the metrics' whole names
    table.show_edge = False
    for name, metrics in rows.items():
        table.add_row(name, *(f"{metrics[metric]:.3f}" for metric in METRICS))
    changes = [rows[model][metric] - rows[baseline][metric] for metric in METRICS]
    table.add_row("difference", *(f"[{_colour(change)}]{change:+.3f}[/]" for change in changes))
    return table


def difference_table(title: str, names: tuple[str, str], differences: Sequence[Difference]) -> Table:
    """A row for each metric: both values, their difference and its 95 % interval."""
    table = _table(title, ["metric", names[1], names[0], "difference", "95 % interval"])
    for change in differences:
        colour = _colour(change.interval.mean) if change.is_significant else "default"
        low, high = change.interval.low, change.interval.high
        table.add_row(
            change.metric,
            f"{change.other:.3f}",
            f"{change.value:.3f}",
            f"[{colour}]{change.interval.mean:+.3f}[/]",
            f"{low:+.3f} to {high:+.3f}",
        )
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _colour(change: float) -> str:
    return "green" if change > 0 else "red" if change < 0 else "default"
