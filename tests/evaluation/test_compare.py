"""Paired differences between results on the same queries."""

import json
from dataclasses import astuple

import numpy as np
import polars as pl
import pytest

from conspecific.errors import RunError
from conspecific.evaluation import Difference, compare
from conspecific.metrics import Interval, metric_names, paired_intervals, sign_flip_test
from conspecific.types import EvalResult

from ..runs.conftest import result_of


def interval_of(values: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    return paired_intervals(values[:, None], groups)[0]


def test_difference_of_means_and_of_queries_are_one() -> None:
    model, other = result_of([1, 1, 0, 1], "abab"), result_of([0, 1, 0, 0], "abab")
    differences = compare(model, other)
    assert [difference.metric for difference in differences] == metric_names()
    for difference in differences:
        assert (difference.value, difference.other) == (0.75, 0.25)
        assert difference.interval == interval_of(np.array([1.0, 0, 0, 1]))
        assert (difference.won, difference.lost, difference.unchanged) == (2, 0, 2)


def test_what_every_query_gains_is_certain_however_much_queries_vary() -> None:
    spread = np.random.default_rng(0).random(50) * 0.9
    [difference, *_] = compare(result_of(spread + 0.1, "ab" * 25), result_of(spread, "ab" * 25))
    assert difference.interval.low == pytest.approx(0.1)
    assert difference.interval.high == pytest.approx(0.1)
    assert difference.is_significant


def test_a_difference_is_significant_where_its_interval_leaves_out_zero() -> None:
    better, worse, same = ([1.0] * 20, [0.0] * 20, [0.0, 1.0] * 10)
    assert compare(result_of(better, "ab" * 10), result_of(worse, "ab" * 10))[0].is_significant
    assert compare(result_of(worse, "ab" * 10), result_of(better, "ab" * 10))[0].is_significant
    assert not compare(result_of(same, "ab" * 10), result_of(same[::-1], "ab" * 10))[0].is_significant
    assert not compare(result_of(same, "ab" * 10), result_of(same, "ab" * 10))[0].is_significant


def test_order_of_the_queries_does_not_matter() -> None:
    model, other = result_of([1, 1, 0, 1], "abab"), result_of([0, 1, 0, 0], "abab")
    turned = EvalResult(other.metrics, other.macro, other.per_query.reverse(), other.facts)
    assert compare(model, turned) == compare(model, other)


def test_whole_species_are_resampled_for_unseen() -> None:
    species = [letter for letter in "abcdef" for _ in range(20)]
    gains = np.repeat([0.5, -0.1, 0.3, 0.0, 0.4, -0.2], 20)
    nothing = np.zeros(120)
    groups = np.repeat(np.arange(6), 20)
    seen, unseen = (
        compare(result_of(gains, species, protocol), result_of(nothing, species, protocol))[0]
        for protocol in ("seen", "unseen")
    )
    assert unseen.interval == unseen.by_species
    assert seen.interval == seen.by_query
    assert astuple(seen.by_query) == pytest.approx(astuple(interval_of(gains)))
    assert astuple(unseen.by_species) == pytest.approx(astuple(interval_of(gains, groups)))
    assert (seen.by_query, seen.by_species) == (unseen.by_query, unseen.by_species)
    assert unseen.interval.high - unseen.interval.low > 2 * (seen.interval.high - seen.interval.low)
    assert seen.p_value == sign_flip_test(gains[:, None])[0]
    assert unseen.p_value == sign_flip_test(gains[:, None], groups)[0]


def test_a_difference_survives_being_written() -> None:
    [difference, *_] = compare(result_of([1, 1, 0, 1], "abab"), result_of([0, 1, 0, 0], "abab"))
    assert Difference.from_json(json.loads(json.dumps(difference.to_json()))) == difference


def test_results_on_other_queries_are_refused_and_counted() -> None:
    whole = result_of([0, 1, 0, 1], "abab")
    subset = EvalResult(whole.metrics, whole.macro, whole.per_query[1:], whole.facts)
    with pytest.raises(RunError, match=r"different queries \(4 and 3, 3 in common\)"):
        compare(whole, subset)


def test_results_with_other_cut_offs_are_compared_by_the_metrics_of_both() -> None:
    more = result_of([1, 1, 0, 1], "abab")
    table = more.per_query.with_columns(pl.lit(1.0).alias("recall@32"))
    more = EvalResult({**more.metrics, "recall@32": 1.0}, more.macro, table, more.facts)
    plain = result_of([0, 1, 0, 0], "abab")
    assert [found.metric for found in compare(more, plain)] == [found.metric for found in compare(plain, more)]
    assert "recall@32" in [found.metric for found in compare(more, more)]


def test_too_few_to_resample_is_an_error_to_read() -> None:
    with pytest.raises(RunError, match="cannot be compared: a paired comparison needs at least 2 groups"):
        compare(result_of([0, 1], "aa", "unseen"), result_of([1, 1], "aa", "unseen"))


def test_queries_of_a_group_are_resampled_together() -> None:
    """Ten bursts of twelve queries, each of which gains or loses as one."""
    bursts = np.repeat(np.arange(10), 12)
    gains = np.repeat([0.5, -0.1, 0.3, 0.0, 0.4, -0.2, 0.1, 0.2, 0.0, 0.3], 12)
    species = ["wren", "owl"] * 60
    model, other = result_of(gains, species), result_of(np.zeros(120), species)
    alone = compare(model, other)[0]
    grouped = [
        EvalResult(each.metrics, each.macro, each.per_query.with_columns(group=bursts), each.facts)
        for each in (model, other)
    ]
    together = compare(*grouped)[0]
    assert (alone.unit, together.unit) == ("queries", "groups")
    assert astuple(together.interval) == pytest.approx(astuple(interval_of(gains, bursts)))
    assert together.interval.high - together.interval.low > 2 * (alone.interval.high - alone.interval.low)
    assert together.p_value == sign_flip_test(gains[:, None], bursts)[0]
    assert Difference.from_json(json.loads(json.dumps(together.to_json()))) == together
