import math
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from conspecific.metrics import Interval, paired, paired_intervals, sign_flip_test, standard_error


def interval_of(values: np.ndarray, *arguments: Any, **options: Any) -> Interval:
    [found] = paired_intervals(values[:, None], *arguments, **options)
    return found


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(1).normal(0.3, 2.0, size=4000)
    interval = interval_of(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_interval_covers_the_truth_as_often_as_it_says(confidence):
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(400):
        interval = interval_of(rng.exponential(1.0, 100), resamples=300, confidence=confidence, seed=seed)
        covered += interval.low <= 1.0 <= interval.high
    # Four standard errors of a share of 400, and what a skewed sample of 100 costs the percentile bootstrap.
    assert abs(covered / 400 - confidence) < 4 * np.sqrt(confidence * (1 - confidence) / 400) + 0.02


def test_resampling_species_covers_where_resampling_queries_does_not():
    rng = np.random.default_rng(4)
    species = np.repeat(np.arange(50), 20)
    simple, clustered = 0, 0
    for seed in range(200):
        values = rng.normal(size=50)[species] + 0.2 * rng.normal(size=1000)
        alone = interval_of(values, resamples=200, seed=seed)
        together = interval_of(values, species, resamples=200, seed=seed)
        simple += alone.low <= 0 <= alone.high
        clustered += together.low <= 0 <= together.high
    assert clustered / 200 > 0.87
    assert simple / 200 < 0.6


def test_groups_of_one_query_are_no_groups():
    values = np.random.default_rng(5).normal(size=300)
    alone, together = interval_of(values), interval_of(values, np.arange(300))
    assert together.low == pytest.approx(alone.low)
    assert together.high == pytest.approx(alone.high)


def test_a_resample_weighs_queries_not_species():
    # One species of 90 queries at 1, one of 10 at 0: half the resamples hold both; a mean of means would be 0.5.
    values, species = np.repeat([1.0, 0.0], [90, 10]), np.repeat([7, -3], [90, 10])
    interval = interval_of(values, species, confidence=0.4)
    assert interval == Interval(0.9, 0.9, 0.9)


def test_a_constant_has_no_width():
    assert interval_of(np.full(10, 0.25)) == Interval(0.25, 0.25, 0.25)


def test_more_confidence_is_wider():
    values = np.random.default_rng(6).normal(size=200)
    assert width(interval_of(values, confidence=0.8)) < width(interval_of(values, confidence=0.99))


def test_same_seed_same_interval():
    values = np.random.default_rng(7).normal(size=500)
    assert interval_of(values, seed=3) == interval_of(values, seed=3)
    assert interval_of(values, seed=3) != interval_of(values, seed=4)


def test_block_size_does_not_change_the_draws(monkeypatch):
    values = np.random.default_rng(8).normal(size=101)
    whole = interval_of(values, resamples=1000)
    monkeypatch.setattr(paired, "BLOCK_DRAWS", 50)
    assert astuple(interval_of(values, resamples=1000)) == pytest.approx(astuple(whole))


@pytest.mark.parametrize(
    ("difference", "arguments", "message"),
    [
        ([], {}, "at least 2 queries; found 0"),
        ([1.0], {}, "at least 2 queries; found 1"),
        ([1.0, 0.0], {"groups": np.array([4, 4])}, "at least 2 groups; found 1"),
        ([1.0, np.nan, np.inf], {}, "2 of 3 differences are not finite"),
        ([1.0, 0.0], {"groups": np.array([4])}, "groups must be of shape"),
        ([[1.0], [0.0]], {}, r"shape \[Q, M\]; found \(2, 1, 1\)"),
        ([1.0, 0.0], {"resamples": 0}, "found 0 and 0.95"),
        ([1.0, 0.0], {"confidence": 95.0}, "found 10000 and 95.0"),
    ],
)
def test_what_cannot_be_resampled_is_refused(difference, arguments, message):
    with pytest.raises(ValueError, match=message):
        paired_intervals(np.array(difference)[..., None], **arguments)


def test_metrics_are_resampled_together_and_each_as_if_alone():
    values = np.random.default_rng(9).normal(size=(200, 3))
    alone = [astuple(interval_of(column)) for column in values.T]
    assert np.array([astuple(found) for found in paired_intervals(values)]) == pytest.approx(np.array(alone))


@pytest.mark.parametrize("grouped", [False, True])
def test_p_values_are_uniform_where_there_is_no_difference(grouped):
    rng = np.random.default_rng(10)
    species = np.repeat(np.arange(20), 5)
    found = []
    for seed in range(300):
        values = rng.normal(size=20)[species] if grouped else rng.normal(size=100)
        found.append(sign_flip_test(values[:, None], species if grouped else None, permutations=400, seed=seed)[0])
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(found) <= level)
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / 300)


def test_p_value_is_that_of_mcnemars_exact_test_for_hits_and_misses():
    # 12 queries won and 3 lost: twice the chance of 12 or more heads of 15.
    change = np.repeat([1.0, -1.0, 0.0], [12, 3, 85])
    exact = 2 * sum(math.comb(15, heads) for heads in range(12, 16)) / 2**15
    [found] = sign_flip_test(change[:, None], permutations=200_000)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 200_000))


def test_p_value_of_no_difference_is_1_and_of_a_sure_one_the_smallest():
    [none, sure] = sign_flip_test(np.column_stack([np.zeros(50), np.full(50, 0.1)]))
    assert none == 1
    assert sure == 1 / 10_001


def test_few_species_cannot_be_sure():
    species = np.repeat(np.arange(4), 50)
    [found] = sign_flip_test(np.ones((200, 1)), species)
    assert found == pytest.approx(2 / 2**4, abs=0.01)


def test_block_size_does_not_change_the_flips(monkeypatch):
    values = np.random.default_rng(11).normal(0.1, 1, size=(64, 2))
    whole = sign_flip_test(values, permutations=1000)
    monkeypatch.setattr(paired, "BLOCK_DRAWS", 640)
    assert sign_flip_test(values, permutations=1000).tolist() == whole.tolist()


def test_the_standard_error_is_that_of_the_mean_and_of_whole_species() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2))
    expected = values.std(axis=0, ddof=1) / np.sqrt(200)
    np.testing.assert_allclose(standard_error(values), expected)
    # four equal queries of a species are one observation: the error is that of 50, not of 200
    species = np.repeat(np.arange(50), 4)
    repeated = np.repeat(values[:50], 4, axis=0)
    np.testing.assert_allclose(standard_error(repeated, species), values[:50].std(axis=0, ddof=1) / np.sqrt(50))
    with pytest.raises(ValueError, match="at least 2 groups; found 1"):
        standard_error(values, np.zeros(200, np.int64))
