import numpy as np
import pytest

from conspecific.metrics import Interval, paired, paired_interval


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(1).normal(0.3, 2.0, size=4000)
    interval = paired_interval(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_interval_covers_the_truth_as_often_as_it_says(confidence):
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(400):
        interval = paired_interval(rng.exponential(1.0, 100), resamples=300, confidence=confidence, seed=seed)
        covered += interval.low <= 1.0 <= interval.high
    # Four standard errors of a share of 400, and what a skewed sample of 100 costs the percentile bootstrap.
    assert abs(covered / 400 - confidence) < 4 * np.sqrt(confidence * (1 - confidence) / 400) + 0.02


def test_resampling_species_covers_where_resampling_queries_does_not():
    rng = np.random.default_rng(4)
    species = np.repeat(np.arange(50), 20)
    simple, clustered = 0, 0
    for seed in range(200):
        values = rng.normal(size=50)[species] + 0.2 * rng.normal(size=1000)
        alone = paired_interval(values, resamples=200, seed=seed)
        together = paired_interval(values, species, resamples=200, seed=seed)
        simple += alone.low <= 0 <= alone.high
        clustered += together.low <= 0 <= together.high
    assert clustered / 200 > 0.87
    assert simple / 200 < 0.6


def test_groups_of_one_query_are_no_groups():
    values = np.random.default_rng(5).normal(size=300)
    alone, together = paired_interval(values), paired_interval(values, np.arange(300))
    assert together.low == pytest.approx(alone.low)
    assert together.high == pytest.approx(alone.high)


def test_a_resample_weighs_queries_not_species():
    # One species of 90 queries at 1, one of 10 at 0: half the resamples hold both; a mean of means would be 0.5.
    values, species = np.repeat([1.0, 0.0], [90, 10]), np.repeat([7, -3], [90, 10])
    interval = paired_interval(values, species, confidence=0.4)
    assert interval == Interval(0.9, 0.9, 0.9)


def test_a_constant_has_no_width():
    assert paired_interval(np.full(10, 0.25)) == Interval(0.25, 0.25, 0.25)


def test_more_confidence_is_wider():
    values = np.random.default_rng(6).normal(size=200)
    assert width(paired_interval(values, confidence=0.8)) < width(paired_interval(values, confidence=0.99))


def test_same_seed_same_interval():
    values = np.random.default_rng(7).normal(size=500)
    assert paired_interval(values, seed=3) == paired_interval(values, seed=3)
    assert paired_interval(values, seed=3) != paired_interval(values, seed=4)


def test_block_size_does_not_change_the_draws(monkeypatch):
    values = np.random.default_rng(8).normal(size=101)
    whole = paired_interval(values, resamples=1000)
    monkeypatch.setattr(paired, "BLOCK_DRAWS", 50)
    assert paired_interval(values, resamples=1000) == whole


@pytest.mark.parametrize(
    ("difference", "arguments", "message"),
    [
        ([], {}, "at least 2 queries to resample; found 0"),
        ([1.0], {}, "at least 2 queries to resample; found 1"),
        ([1.0, 0.0], {"groups": np.array([4, 4])}, "at least 2 groups to resample; found 1"),
        ([1.0, np.nan, np.inf], {}, "2 of 3 differences are not finite"),
        ([1.0, 0.0], {"groups": np.array([4])}, "groups must be of shape"),
        ([[1.0], [0.0]], {}, r"shape \[Q\]; found \(2, 1\)"),
        ([1.0, 0.0], {"resamples": 0}, "found 0 and 0.95"),
        ([1.0, 0.0], {"confidence": 95.0}, "found 10000 and 95.0"),
    ],
)
def test_what_cannot_be_resampled_is_refused(difference, arguments, message):
    with pytest.raises(ValueError, match=message):
        paired_interval(np.array(difference), **arguments)
