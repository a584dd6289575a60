"""Hubs: how often each image is an answer, and how uneven that is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.metrics import k_occurrence, skewness


@given(seed=st.integers(0, 1000), queries=st.integers(0, 20), width=st.integers(1, 6), gallery=st.integers(1, 30))
def test_occurrences_agree_with_a_plain_count(seed: int, queries: int, width: int, gallery: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(100)[:gallery]
    neighbors = np.append(ids, -1)[rng.integers(0, gallery + 1, (queries, width))]
    counts = k_occurrence(neighbors, ids)
    assert counts.tolist() == [int((neighbors == one).sum()) for one in ids]
    assert counts.sum() == (neighbors >= 0).sum()


def test_an_answer_from_outside_the_gallery_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 neighbours are not in the gallery, first sample ids \[4, 99\]"):
        k_occurrence(np.array([[4, 5], [99, 4]]), np.array([5, 6]))


def test_skewness_of_a_known_distribution() -> None:
    # The geometric distribution of success p has skewness (2 - p) / sqrt(1 - p).
    counts = np.random.default_rng(0).geometric(0.3, 400_000)
    assert skewness(counts) == pytest.approx(1.7 / 0.7**0.5, rel=0.03)
    assert skewness(-counts) == pytest.approx(-skewness(counts))


def test_skewness_is_zero_for_equal_and_symmetric_counts_and_largest_for_one_hub() -> None:
    assert skewness(np.full(7, 3)) == 0
    assert skewness(np.array([5])) == 0
    assert skewness(np.array([0, 1, 2])) == pytest.approx(0)
    hub = np.zeros(101, np.int64)
    hub[50] = 1000
    assert skewness(hub) == pytest.approx(99 / 10)
    with pytest.raises(ValueError, match="at least 1 count"):
        skewness(hub[:0])


def test_high_dimensions_make_hubs() -> None:
    """The finding of Radovanovic et al. 2010: neighbours of random points grow uneven with dimension."""
    found = []
    for dimensions in (3, 100):
        points = np.random.default_rng(1).normal(size=(800, dimensions))
        squares = (points**2).sum(axis=1)
        distance = squares[:, None] + squares - 2 * points @ points.T
        np.fill_diagonal(distance, np.inf)
        found.append(skewness(k_occurrence(np.argsort(distance, axis=1)[:, :10], np.arange(800))))
    assert found[0] < 0.5 < 2 < found[1]
