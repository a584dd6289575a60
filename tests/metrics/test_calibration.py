"""Which answers to trust: thresholds, ties and the precision above them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.metrics import precision_curve, threshold_for

answers = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=25)


@given(answers, st.sampled_from([0.01, 0.5, 2 / 3, 0.75, 1.0]))
def test_agrees_with_trying_every_threshold(found: list[tuple[int, bool]], wanted: float) -> None:
    scores = np.array([score for score, _ in found], np.float64)
    hits = np.array([hit for _, hit in found], np.bool_)
    thresholds, precision, kept = precision_curve(scores, hits)
    assert thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    for threshold, reached, number in zip(thresholds, precision, kept, strict=True):
        above = hits[scores >= threshold]
        assert (reached, number) == (pytest.approx(above.mean()), len(above))
    enough = [score for score in set(scores.tolist()) if hits[scores >= score].mean() >= wanted]
    assert threshold_for(scores, hits, wanted) == (min(enough) if enough else None)


def test_the_lowest_threshold_is_taken_even_after_a_dip() -> None:
    scores, hits = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 0, 1, 1, 0], bool)
    assert threshold_for(scores, hits, 0.75) == 0.6
    assert threshold_for(scores, hits, 1.0) == 0.9
    assert threshold_for(scores, ~hits, 0.75) is None


def test_answers_of_one_score_are_kept_or_dropped_together() -> None:
    assert threshold_for(np.array([0.5, 0.5]), np.array([True, False]), 1.0) is None
    assert threshold_for(np.array([-0.0, 0.0]), np.array([True, False]), 0.5) == 0


def test_the_precision_asked_for_is_met_when_met_exactly() -> None:
    scores = np.arange(20, 0, -1) / 20
    hits = np.arange(20) != 5
    assert threshold_for(scores, hits, 0.95) == scores[-1]


def test_no_answers_have_no_threshold() -> None:
    none = np.empty(0)
    assert [column.shape for column in precision_curve(none, none.astype(bool))] == [(0,)] * 3
    assert threshold_for(none, none.astype(bool), 0.5) is None


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, hits = rng.integers(0, 40, 300) / 40, rng.random(300) < 0.6
    precision, _, thresholds = metrics.precision_recall_curve(hits, scores)
    ours = precision_curve(scores, hits)
    np.testing.assert_allclose(ours[0], thresholds[::-1])
    np.testing.assert_allclose(ours[1], precision[:-1][::-1])


@pytest.mark.parametrize(
    ("scores", "hits", "precision", "message"),
    [
        ([0.1, np.nan], [True, True], 0.5, "1 of 2 scores are not finite"),
        ([0.1, -np.inf], [True, True], 0.5, "1 of 2 scores are not finite"),
        ([0.1], [True, True], 0.5, "must share"),
        ([0.1], [True], 0.0, "above 0 and at most 1; found 0.0"),
        ([0.1], [True], 1.1, "above 0 and at most 1; found 1.1"),
    ],
)
def test_what_cannot_be_is_refused(scores: list[float], hits: list[bool], precision: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_for(np.array(scores), np.array(hits), precision)
