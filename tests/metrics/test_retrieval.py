from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.metrics import (
    macro_mean,
    map_at_r,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
    score_queries,
)

# Three queries: R = 3 found at ranks 1, 3, 4; R = 2 found at 4 and 7; R = 1 found at 13, beyond what is shown.
HITS = np.array([[1, 0, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1, 0, 0, 0], [0] * 10], bool)
POSITIVES = np.array([3, 2, 1])
FIRST_RANK = np.array([1, 4, 13])


def test_counted_by_hand():
    scores = score_queries(HITS, POSITIVES, FIRST_RANK)
    counted = {
        "recall@1": [1, 0, 0],
        "recall@5": [1, 1, 0],
        "recall@10": [1, 1, 0],
        "precision@10": [3 / 10, 2 / 10, 0],
        "r_precision": [2 / 3, 0, 0],
        "map@r": [(1 + 2 / 3) / 3, 0, 0],
        "mrr": [1, 1 / 4, 1 / 13],
        "ndcg@10": [
            (1 + 1 / 2 + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / 2),
            (1 / log2(5) + 1 / 3) / (1 + 1 / log2(3)),
            0,
        ],
    }
    assert list(scores) == list(counted), "the reported names, in the order they are reported in"
    for name, values in counted.items():
        np.testing.assert_allclose(scores[name], values, rtol=1e-15, err_msg=name)
        assert scores[name].dtype == np.float64


@st.composite
def rankings(draw):
    """Whole rankings: the hits of galleries of one size, at least one in each."""
    size = draw(st.integers(1, 12))
    row = st.lists(st.booleans(), min_size=size, max_size=size).filter(any)
    return np.array(draw(st.lists(row, min_size=1, max_size=6)))


def plainly(ranking, k):
    """Every metric of one query, by its definition."""
    positives = sum(ranking)
    precisions = []
    for rank in range(1, positives + 1):
        if ranking[rank - 1]:
            precisions.append(sum(ranking[:rank]) / rank)
    gains = [1 / log2(rank + 1) for rank in range(1, k + 1) if ranking[rank - 1]]
    best = [1 / log2(rank + 1) for rank in range(1, min(positives, k) + 1)]
    return {
        f"recall@{k}": 1.0 if True in ranking[:k] else 0.0,
        f"precision@{k}": ranking[:k].count(True) / k,
        "r_precision": ranking[:positives].count(True) / positives,
        "map@r": sum(precisions) / positives,
        "mrr": 1 / (ranking.index(True) + 1),
        f"ndcg@{k}": sum(gains) / sum(best),
    }


@given(rankings(), st.data())
def test_agrees_with_plain_loops(ranking, data):
    k = data.draw(st.integers(1, ranking.shape[1]))
    positives, first_rank = ranking.sum(axis=1), ranking.argmax(axis=1) + 1
    shown = ranking[:, : data.draw(st.integers(max(k, positives.max()), ranking.shape[1]))]
    scores = {
        f"recall@{k}": recall_at_k(shown, k),
        f"precision@{k}": precision_at_k(shown, k),
        "r_precision": r_precision(shown, positives),
        "map@r": map_at_r(shown, positives),
        "mrr": reciprocal_rank(first_rank),
        f"ndcg@{k}": ndcg_at_k(shown, positives, k),
    }
    for query, row in enumerate(ranking.tolist()):
        for name, value in plainly(row, k).items():
            assert scores[name][query] == pytest.approx(value, abs=1e-12), name


@given(rankings())
def test_order_of_the_metrics(ranking):
    positives = ranking.sum(axis=1)
    assert (map_at_r(ranking, positives) <= r_precision(ranking, positives) + 1e-12).all()
    assert (reciprocal_rank(ranking.argmax(axis=1) + 1) >= recall_at_k(ranking, 1)).all()
    perfect = -np.sort(-ranking.astype(int), axis=1) > 0
    np.testing.assert_allclose(map_at_r(perfect, positives), 1)
    for k in range(1, ranking.shape[1] + 1):
        assert (ndcg_at_k(perfect, positives, k) == 1).all(), "exactly, whatever the order of addition"
        found = ndcg_at_k(ranking, positives, k)
        assert ((found >= 0) & (found <= 1)).all()
        first = (ranking[:, :k] == perfect[:, :k]).all(axis=1)
        assert (found[~first] < 1).all()


def test_mean_over_species_weighs_the_rare_as_the_common():
    values, species = np.array([1.0, 1, 1, 0, 0.5]), np.array([2**40, 2**40, 2**40, -3, 8])
    assert macro_mean(values, species) == pytest.approx((1 + 0 + 0.5) / 3)
    assert macro_mean(values, np.arange(5)) == pytest.approx(values.mean()), "micro where each has one query"
    assert macro_mean(values, np.zeros(5, np.int64)) == pytest.approx(values.mean())


@pytest.mark.parametrize(("queries", "species", "message"), [(0, 0, "at least 1 query"), (3, 2, "must share")])
def test_a_mean_over_nothing_or_over_others_is_refused(queries, species, message):
    with pytest.raises(ValueError, match=message):
        macro_mean(np.zeros(queries), np.zeros(species, np.int64))


def test_agrees_with_pytorch_metric_learning():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    ranking = np.random.default_rng(3).random((40, 30)) < np.linspace(0.1, 0.9, 40)[:, None]
    positives, query = ranking.sum(axis=1), torch.arange(40)
    # A species for each query, so that each has an R of its own.
    found = torch.where(torch.from_numpy(ranking), query[:, None], -1)
    shared = (found, query[:, None], False, (query, torch.from_numpy(positives)), False, False, torch.eq)
    assert map_at_r(ranking, positives).mean() == pytest.approx(theirs.mean_average_precision(*shared, at_r=True))
    assert r_precision(ranking, positives).mean() == pytest.approx(theirs.r_precision(*shared))


def test_no_queries_have_no_scores():
    none = np.empty(0, np.int64)
    scores = score_queries(np.empty((0, 10), bool), none, none)
    assert all(values.shape == (0,) for values in scores.values())


def ndcg_at_10(hits, positives):
    return ndcg_at_k(hits, positives, 10)


@pytest.mark.parametrize("score", [r_precision, map_at_r, ndcg_at_10])
def test_a_query_without_a_positive_is_refused_and_counted(score):
    with pytest.raises(ValueError, match="1 of 3 queries have no positive"):
        score(HITS, np.array([3, 0, 1]))


def test_a_rank_below_one_is_refused_and_counted():
    with pytest.raises(ValueError, match="2 of 3 queries have no positive"):
        reciprocal_rank(np.array([0, 4, 0]))


@pytest.mark.parametrize("score", [r_precision, map_at_r])
def test_fewer_neighbours_than_r_are_refused(score):
    with pytest.raises(ValueError, match="needs 11 neighbours; found 10"):
        score(HITS, np.array([3, 11, 1]))


def ndcg_of_one(hits, k):
    return ndcg_at_k(hits, POSITIVES, k)


@pytest.mark.parametrize("score", [recall_at_k, precision_at_k, ndcg_of_one])
@pytest.mark.parametrize("k", [0, 11])
def test_k_outside_the_searched_neighbours_is_refused(score, k):
    with pytest.raises(ValueError, match=f"from 1 to the 10 .* found {k}"):
        score(HITS, k)


@pytest.mark.parametrize(
    ("positives", "first_rank", "message"),
    [
        ([3, 2, 1], [1, 5, 13], "contradicts the hits of 1 of 3"),
        ([3, 2, 1], [1, 4, 5], "contradicts the hits of 1 of 3"),
        ([2, 2, 1], [1, 4, 13], "1 of 3 queries have more hits than positives"),
        ([3, 2], [1, 4, 13], "one for each query"),
        ([3, 2, 1], [1, 4], "one for each query"),
    ],
)
def test_counts_of_another_search_are_refused(positives, first_rank, message):
    with pytest.raises(ValueError, match=message):
        score_queries(HITS, np.array(positives), np.array(first_rank))
