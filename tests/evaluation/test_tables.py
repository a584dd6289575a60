"""Results in a terminal of 80 columns."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import difference_table, epoch_table
from conspecific.metrics import Interval, metric_names


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


@pytest.fixture
def epochs() -> Table:
    values = iter(range(1, 100))
    rows = {
        name: {metric: next(values) / 100 for metric in metric_names()} for name in ("flatten", "pooled", "epoch 1000")
    }
    gains = {metric: Interval(0.16, 0.125, 0.375) for metric in metric_names()}
    return epoch_table("Validation after epoch 1000 of 1000", rows, gains)


def test_every_epoch_is_told_in_80_columns_with_nothing_cut(epochs: Table) -> None:
    title, head, _, *rows = printed(epochs)
    count = len(metric_names())
    assert title.strip() == "Validation after epoch 1000 of 1000"
    assert head.split() == ["metric", "flatten", "pooled", "epoch", "1000", "gain", "95", "%", "interval"]
    assert [row.split() for row in rows] == [
        [metric, *(f"{place / 100 + side * count / 100:.3f}" for side in range(3)), "+0.160", "+0.125…+0.375"]
        for place, metric in enumerate(metric_names(), start=1)
    ]
    assert all(len(line) <= 80 for line in (head, *rows))


def test_an_epoch_without_intervals_is_told_without_gains() -> None:
    _, head, _, first, *_ = printed(epoch_table("Validation", {"flatten": dict.fromkeys(metric_names(), 0.5)}, {}))
    assert (head.split(), first.split()) == (["metric", "flatten"], ["recall@1", "0.500"])


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
    unseen = printed(difference_table("", ("B", "A"), [difference_of("mrr", over_species=True)]), width=120)
    assert any("below over species (these count)" in line for line in unseen)


def test_nothing_is_ever_minus_zero() -> None:
    table = difference_table("", ("B", "A"), [difference_of("mrr", low=-0.0004, high=0.0003)])
    assert "-0.000" not in "\n".join(printed(table))
