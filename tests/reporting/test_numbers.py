"""The numbers of the page are those of the results, and the interval shown is the one to be believed."""

import dataclasses
from collections.abc import Callable

import pytest

from conspecific.metrics import Interval, metric_names
from conspecific.reporting.run.numbers import comparisons, interval_sentence, macro_rows, macro_sentence, metric_rows
from conspecific.reporting.run.record import Report


def over_queries(report: Report) -> Report:
    changed = [dataclasses.replace(row, over_species=False) for row in report.over_flatten]
    return dataclasses.replace(report, over_flatten=changed, over_pooled=())


def test_a_row_for_each_metric_with_values_places_and_gains(make_report: Callable[..., Report]) -> None:
    report = make_report()
    rows = {row.metric: row for row in metric_rows(report)}
    assert list(rows) == metric_names()
    row = rows["map@r"]
    assert row.values[0] == ("baseline", "Baseline", f"{report.flatten.metrics['map@r']:.3f}")
    assert row.places["model"] == pytest.approx(100 * report.best.metrics["map@r"], abs=0.01)
    assert row.over_baseline is not None and row.over_baseline.verdict == "better"
    change = next(found for found in report.over_pooled if found.metric == "map@r")
    assert row.over_pooled is not None and row.over_pooled.mean == f"+{change.interval.mean:.3f}"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (-0.1, 0.2, "unsure")]
)
def test_the_interval_that_counts_makes_the_verdict(
    make_report: Callable[..., Report], low: float, high: float, verdict: str
) -> None:
    report = make_report()
    change = next(found for found in report.over_flatten if found.metric == "recall@1")
    change = dataclasses.replace(change, by_species=Interval(0.1, low, high), by_query=Interval(0.1, 0.09, 0.11))
    row = metric_rows(dataclasses.replace(report, over_flatten=[change]))[0]
    assert row.metric == "recall@1" and row.over_baseline is not None
    assert row.over_baseline.verdict == verdict
    assert f"{abs(low):.3f}" in row.over_baseline.interval


def test_all_statistics_hold_both_intervals_and_count_every_query(make_report: Callable[..., Report]) -> None:
    report = make_report()
    found = comparisons(report)
    assert [comparison.other for comparison in found] == ["the baseline", "the pooled reference"]
    assert {comparison.counts for comparison in found} == {"species"}
    change = next(row for row in report.over_pooled if row.metric == "precision@10")
    row = next(row for row in found[1].rows if row.metric == "precision@10")
    assert f"{change.by_query.low:.3f}" in row.over_queries and f"{change.by_species.low:.3f}" in row.over_species
    assert row.counts == (str(change.won), str(change.unchanged), str(change.lost))
    assert sum(map(int, row.counts)) == report.best.per_query.height
    assert sum(row.shares) == pytest.approx(100, abs=0.05)


def test_small_p_values_are_not_told_apart(make_report: Callable[..., Report]) -> None:
    report = make_report()
    first, second = report.over_flatten[:2]
    changed = [dataclasses.replace(first, p_value=0.0001), dataclasses.replace(second, p_value=0.0421)]
    rows = comparisons(dataclasses.replace(report, over_flatten=changed))[0].rows
    assert [row.p_value for row in rows] == ["< 0.001", "0.042"]


def test_which_interval_counts_is_said_with_its_reason(make_report: Callable[..., Report]) -> None:
    report = make_report()
    assert "interval over species: they are new to the encoder" in interval_sentence(report)
    assert "interval over queries" in interval_sentence(over_queries(report))
    assert comparisons(over_queries(report))[0].counts == "queries"
    assert interval_sentence(dataclasses.replace(report, over_flatten=())) == ""


def test_means_over_species_stand_beside_means_over_queries(make_report: Callable[..., Report]) -> None:
    report = make_report()
    row = next(row for row in macro_rows(report) if row.metric == "mrr")
    micro, macro = report.best.metrics["mrr"], report.best.macro["mrr"]
    assert row.values[-1] == ("model", "Fine-tuned", f"{micro:.3f}", f"{macro:.3f}")
    assert f"is {report.best.macro['recall@1']:.3f}, instead of" in macro_sentence(report)


def test_a_single_species_has_numbers_and_no_intervals(make_report: Callable[..., Report]) -> None:
    report = dataclasses.replace(make_report(), over_flatten=(), over_pooled=())
    assert all(row.over_baseline is None and row.over_pooled is None for row in metric_rows(report))
    assert comparisons(report) == []
