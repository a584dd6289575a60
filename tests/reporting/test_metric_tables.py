"""The metric tables show the values of the results and the interval that decides."""

import dataclasses

import pytest

from conspecific.metrics import Interval, metric_names
from conspecific.reporting.run.metric_tables import (
    average_rows,
    difference_tables,
    interval_sentence,
    macro_sentence,
    metric_rows,
)
from conspecific.reporting.run.subject import Subject

from .subjects import MakeSubject, changed


def over_queries(run: Subject) -> Subject:
    return changed(run, gains={"flatten": [dataclasses.replace(row, over_species=False) for row in run.over_baseline]})


def test_each_metric_has_a_row_with_values_positions_and_gains(make_run: MakeSubject) -> None:
    run = make_run()
    rows = {row.metric: row for row in metric_rows(run)}
    assert list(rows) == metric_names()
    row = rows["map@r"]
    assert (row.cells[0].encoder.role, row.cells[0].text) == (
        "baseline",
        f"{run.record.test['flatten'].metrics['map@r']:.3f}",
    )
    assert row.positions["model"] == pytest.approx(100 * run.best.result.metrics["map@r"], abs=0.01)
    assert row.over_baseline is not None and row.over_baseline.verdict == "better"
    change = next(found for found in run.over_pooled if found.metric == "map@r")
    assert row.over_pooled is not None and row.over_pooled.mean == f"+{change.interval.mean:.3f}"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (-0.1, 0.2, "unsure")]
)
def test_the_verdict_follows_from_the_deciding_interval(
    make_run: MakeSubject, low: float, high: float, verdict: str
) -> None:
    run = make_run()
    change = next(found for found in run.over_baseline if found.metric == "recall@1")
    change = dataclasses.replace(change, by_species=Interval(0.1, low, high), by_query=Interval(0.1, 0.09, 0.11))
    row = metric_rows(changed(run, gains={"flatten": [change]}))[0]
    assert row.metric == "recall@1" and row.over_baseline is not None
    assert row.over_baseline.verdict == verdict
    assert f"{abs(low):.3f}" in row.over_baseline.interval


def test_difference_tables_have_both_intervals_and_count_every_query(make_run: MakeSubject) -> None:
    run = make_run()
    found = difference_tables(run)
    assert [comparison.other for comparison in found] == ["baseline", "pooled reference"]
    assert {comparison.unit for comparison in found} == {"species"}
    change = next(row for row in run.over_pooled if row.metric == "precision@10")
    row = next(row for row in found[1].rows if row.metric == "precision@10")
    assert f"{change.by_query.low:.3f}" in row.over_queries and f"{change.by_species.low:.3f}" in row.over_species
    assert row.counts == (str(change.won), str(change.unchanged), str(change.lost))
    assert sum(map(int, row.counts)) == run.best.result.per_query.height
    assert sum(row.shares) == pytest.approx(100, abs=0.05)


def test_small_p_values_are_written_as_a_bound(make_run: MakeSubject) -> None:
    run = make_run()
    first, second = run.over_baseline[:2]
    rewritten = [dataclasses.replace(first, p_value=0.0001), dataclasses.replace(second, p_value=0.0421)]
    rows = difference_tables(changed(run, gains={"flatten": rewritten}))[0].rows
    assert [row.p_value for row in rows] == ["<0.001", "0.042"]


def test_the_deciding_interval_is_named(make_run: MakeSubject) -> None:
    run = make_run()
    assert "interval is over species" in interval_sentence(run)
    assert "interval is over queries" in interval_sentence(over_queries(run))
    assert difference_tables(over_queries(run))[0].unit == "queries"
    assert interval_sentence(changed(run, gains={})) == ""


def test_macro_averages_are_shown_with_micro_averages(make_run: MakeSubject) -> None:
    run = make_run()
    row = next(row for row in average_rows(run) if row.metric == "mrr")
    micro, macro = run.best.result.metrics["mrr"], run.best.result.macro["mrr"]
    assert (row.cells[-1].encoder.role, row.cells[-1].before, row.cells[-1].text) == (
        "model",
        f"{micro:.3f}",
        f"{macro:.3f}",
    )
    assert f"is {run.best.result.macro['recall@1']:.3f} (" in macro_sentence(run)


def test_without_differences_there_are_values_and_no_gains(make_run: MakeSubject) -> None:
    run = changed(make_run(), gains={})
    assert all(row.over_baseline is None and row.over_pooled is None for row in metric_rows(run))
    assert difference_tables(run) == []
