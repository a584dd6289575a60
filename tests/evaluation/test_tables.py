"""Results in a terminal of 80 columns."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import difference_table, epoch_table
from conspecific.metrics import METRICS, Interval


def printed(table: Table, width: int = 80, colour: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.fixture
def epochs() -> Table:
    values = iter(range(1, 100))
    rows = {name: {metric: next(values) / 100 for metric in METRICS} for name in ("flatten", "pooled", "epoch 1000")}
    return epoch_table("Validation after epoch 1000 of 1000", rows, baseline="flatten", model="epoch 1000")


def test_every_epoch_is_told_in_80_columns_with_nothing_cut(epochs: Table) -> None:
    title, head, _, *rows = printed(epochs)
    assert title.strip() == "Validation after epoch 1000 of 1000"
    assert head.split() == list(METRICS)
    assert [row.split() for row in rows] == [
        ["flatten", *(f"{value / 100:.3f}" for value in range(1, 8))],
        ["pooled", *(f"{value / 100:.3f}" for value in range(8, 15))],
        ["epoch", "1000", *(f"{value / 100:.3f}" for value in range(15, 22))],
        ["difference", *["+0.140"] * 7],
    ]
    assert all(len(line) <= 80 for line in (head, *rows))


def test_numbers_stand_below_their_names(epochs: Table) -> None:
    _, head, _, *rows = printed(epochs)
    for metric in METRICS:
        end = head.index(metric) + len(metric)
        assert all(row[end - 1].isdigit() and row[end : end + 1] in ("", " ") for row in rows)


def test_gains_are_green_and_losses_red() -> None:
    better, worse = dict.fromkeys(METRICS, 0.5), dict.fromkeys(METRICS, 0.25)
    rows = {"flatten": better, "epoch 1": worse}
    assert "\x1b[31m-0.250" in printed(epoch_table("", rows, "flatten", "epoch 1"), colour=True)[-1]
    assert "\x1b[32m+0.250" in printed(epoch_table("", rows, "epoch 1", "flatten"), colour=True)[-1]


def test_final_differences_fit_in_80_columns_with_nothing_cut() -> None:
    differences = [Difference(metric, 0.75, 0.5, Interval(0.25, 0.125, 0.375)) for metric in METRICS]
    table = difference_table("Test, against the flatten baseline", ("model", "flatten"), differences)
    _, head, _, *body = [line for line in printed(table) if line.strip()]
    assert head.split() == ["metric", "flatten", "model", "difference", "95", "%", "interval"]
    assert [line.split() for line in body] == [
        [metric, "0.500", "0.750", "+0.250", "+0.125", "to", "+0.375"] for metric in METRICS
    ]


@pytest.mark.parametrize(("low", "high", "coloured"), [(0.1, 0.3, True), (-0.1, 0.3, False)])
def test_only_a_significant_difference_is_coloured(low: float, high: float, coloured: bool) -> None:
    change = Difference("map@r", 0.6, 0.5, Interval(0.1, low, high))
    lines = printed(difference_table("", ("model", "flatten"), [change]), colour=True)
    assert any("\x1b[32m+0.100" in line for line in lines) == coloured
