"""Results in a terminal of 80 columns."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import EpochRow, difference_table, epoch_line, epochs_table
from conspecific.metrics import Interval, metric_names
from conspecific.tables import plain_table


def printed(table: Table, width: int = 80, colour: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def difference_of(metric: str, low: float = 0.125, high: float = 0.375, **changes: Any) -> Difference:
    interval = Interval((low + high) / 2, low, high)
    found = Difference(metric, 0.75, 0.5, interval, Interval(0.25, -0.05, 0.5), False, 0.0321, 1830, 1004, 165)
    return replace(found, **changes)


def row_of(epoch: int, **changes: Any) -> EpochRow:
    metrics = {"recall@1": 0.912, "precision@10": 0.75, "map@r": 0.5 + epoch / 1e4}
    row = EpochRow(epoch, 0.4321, metrics, Interval(0.031, -0.01, 0.052), 5e-4, 754.0, 13 * 3600.0)
    return replace(row, **changes)


def test_epochs_fit_in_80_columns_with_nothing_cut() -> None:
    metrics = ["recall@1", "precision@10", "map@r"]
    table = epochs_table("Validation", [row_of(999), row_of(1000, gain=None)], metrics, best=999)
    _, head, _, first, second = printed(table)
    names = ["epoch", "loss", *metrics, "gain", "95", "%", "interval", "lr", "time", "left"]
    assert head.split() == names
    measured = ["0.432", "0.912", "0.750", "0.600"]
    ends = ["5e-04", "12:34", "13h00m"]
    assert first.split() == ["*999", *measured[:3], "0.600", "+0.031", "-0.010…+0.052", *ends]
    assert second.split() == ["1000", *measured, *ends]
    assert max(map(len, printed(table))) <= 80


def test_an_epoch_is_one_line_in_a_file() -> None:
    metrics = ["recall@1", "map@r"]
    assert epoch_line(row_of(3, seconds=41.0, left=62.0), 20, metrics, "pooled", best=True) == (
        "Epoch 3 of 20  loss 0.432  recall@1 0.912  map@r 0.500  gain over pooled +0.031 (-0.010…+0.052)  lr 5e-04  "
        "0:41, 1:02 left  best so far"
    )
    plain = epoch_line(row_of(3, gain=None), 20, metrics, "pooled", best=False)
    assert "gain" not in plain and not plain.endswith("best so far")


def test_names_are_never_markup() -> None:
    table = plain_table("[red]wren[/]", ["species [old]"])
    text = "\n".join(printed(table))
    assert "[red]wren[/]" in text and "species [old]" in text


def test_final_differences_fit_in_80_columns_with_nothing_cut() -> None:
    table = difference_table(
        "Test, against the flatten baseline", ("model", "flatten"), list(map(difference_of, metric_names()))
    )
    _, head, _, *body = [line for line in printed(table) if line.strip()]
    names = ["metric", "flatten", "model", "gain", "95", "%", "interval", "p", "won", "lost", "same"]
    assert head.split() == names
    counts = ["0.032", "1830", "1004", "165"]
    for metric, first, second in zip(metric_names(), body[0::2], body[1::2], strict=False):
        assert first.split() == [metric, "0.500", "0.750", "+0.250", "+0.125…+0.375", *counts]
        assert second.split() == ["-0.050…+0.500"]
    assert max(map(len, printed(table))) <= 80
    assert body[2 * len(metric_names())].startswith(
        "Intervals over queries (these count), below over species; p by sign"
    )


def test_intervals_over_seeds_stand_below_the_others() -> None:
    seeds = {"mrr": Interval(0.25, 0.1, 0.4)}
    table = difference_table("", ("B", "A"), [difference_of("mrr")], seeds)
    lines = [line.split() for line in printed(table)]
    assert [line for line in lines if line and line[0].startswith(("+0.1", "-0.05"))] == [
        ["-0.050…+0.500"],
        ["+0.100…+0.400"],
    ]
    assert "then over seeds" in " ".join(" ".join(printed(table)).split())


@pytest.mark.parametrize(
    ("low", "high", "colour"), [(0.1, 0.3, "\x1b[32m+0.200"), (-0.3, -0.1, "\x1b[31m-0.200"), (-0.1, 0.3, None)]
)
def test_only_what_is_not_for_chance_to_explain_is_coloured(low: float, high: float, colour: str | None) -> None:
    text = "\n".join(
        printed(difference_table("", ("model", "flatten"), [difference_of("mrr", low, high)]), colour=True)
    )
    assert colour in text if colour else "\x1b[31m" not in text and "\x1b[32m" not in text


def test_the_interval_that_counts_is_the_one_that_colours() -> None:
    unseen = difference_of("mrr", over_species=True)  # over species it holds zero
    text = "\n".join(printed(difference_table("", ("model", "flatten"), [unseen]), colour=True))
    assert "\x1b[32m" not in text


def test_which_interval_counts_is_said() -> None:
    grouped = printed(difference_table("", ("B", "A"), [difference_of("mrr", grouped=True)]), width=120)
    assert any("Intervals over groups of queries (these count), below over species" in line for line in grouped)
    unseen = printed(difference_table("", ("B", "A"), [difference_of("mrr", over_species=True)]), width=120)
    assert any("below over species (these count)" in line for line in unseen)


def test_nothing_is_ever_minus_zero() -> None:
    table = difference_table("", ("B", "A"), [difference_of("mrr", low=-0.0004, high=0.0003)])
    assert "-0.000" not in "\n".join(printed(table))
