"""Known against new queries, against scikit-learn and by counting pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from conspecific.metrics import auroc, fpr_at_tpr, oscr, rejection_curve, resampled_counts, threshold_keeping

few = st.lists(st.integers(0, 12).map(lambda value: value / 4), min_size=2, max_size=12)  # with many ties


def ones(*scores: np.ndarray) -> list[np.ndarray]:
    return [np.ones((1, len(each))) for each in scores]


@given(few, few, st.integers(0, 99))
def test_each_is_what_counting_gives(known_scores: list[float], new_scores: list[float], seed: int) -> None:
    known, new = np.array(known_scores), np.array(new_scores)
    right = np.random.default_rng(seed).random(len(known)) < 0.7
    truth, scores = np.repeat([1, 0], [len(known), len(new)]), np.concatenate([known, new])
    assert auroc(known, new, *ones(known, new)) == pytest.approx(roc_auc_score(truth, scores))
    rates = roc_curve(truth, scores, drop_intermediate=False)
    assert fpr_at_tpr(known, new, *ones(known, new)) == pytest.approx(rates[0][rates[1] >= 0.95][0])
    pairs = [(own > other) + 0.5 * (own == other) for own in known[right] for other in new]
    assert oscr(known, right, new, *ones(known, new)) == pytest.approx(sum(pairs) / (len(known) * len(new)))
    assert threshold_keeping(known) == max(each for each in known if np.mean(known >= each) >= 0.95)
    _, refused, refused_new = rejection_curve(known, new)
    assert np.trapezoid(1 - refused, refused_new) == pytest.approx(roc_auc_score(truth, scores))
    assert (refused[0], refused_new[0], refused[-1], refused_new[-1]) == (0, 0, 1, 1)


@given(few, few, st.integers(0, 99))
def test_weights_are_repeated_queries(known_scores: list[float], new_scores: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, new = np.array(known_scores), np.array(new_scores)
    right = rng.random(len(known)) < 0.7
    weights = [rng.integers(0, 4, len(scores)) + (np.arange(len(scores)) == 0) for scores in (known, new)]
    many, of, others = np.repeat(known, weights[0]), np.repeat(right, weights[0]), np.repeat(new, weights[1])
    counts = [np.stack([np.ones(len(each)), each]).astype(float) for each in weights]
    assert auroc(known, new, *counts)[1] == pytest.approx(auroc(many, others, *ones(many, others))[0])
    assert fpr_at_tpr(known, new, *counts)[1] == pytest.approx(fpr_at_tpr(many, others, *ones(many, others))[0])
    assert oscr(known, right, new, *counts)[1] == pytest.approx(oscr(many, of, others, *ones(many, others))[0])


def test_a_threshold_needs_scores_and_a_share() -> None:
    for scores, share in (([], 0.95), ([0.5], 0.0), ([0.5], 1.5)):
        with pytest.raises(ValueError, match="a threshold needs scores"):
            threshold_keeping(np.array(scores, float), share)


def test_sets_of_queries_are_drawn_apart_and_groups_whole() -> None:
    units = [np.array([5, 5, 9, 2]), np.array([0, 1, 2])]
    blocks = list(resampled_counts(units, 3000))
    first, second = (np.concatenate([block[place] for block in blocks]) for place in (0, 1))
    assert first.shape == (3000, 4) and second.shape == (3000, 3)
    assert (first[:, 0] == first[:, 1]).all() and (first[:, 1:].sum(axis=1) == 3).all()
    assert abs(np.corrcoef(first[:, 2], second[:, 0])[0, 1]) < 0.1
