"""The registry of metrics: cut-offs, names, order, sentences, and what adding an entry takes."""

import numpy as np
import pytest

from conspecific.errors import ConfigError
from conspecific.metrics import explain, in_order, largest_k, metric_names, recall_at_k, registry, score_queries

DEFAULT = ["recall@1", "recall@5", "recall@10", "precision@10", "r_precision", "map@r", "mrr", "ndcg@10"]


def test_the_cut_offs_are_those_of_recall_in_ascending_order_and_once():
    assert metric_names() == DEFAULT
    assert metric_names((32, 2, 2))[:3] == ["recall@1", "recall@2", "recall@32"]
    assert metric_names((32, 2))[3:] == DEFAULT[3:]
    assert metric_names(np.array([2]))[:2] == ["recall@1", "recall@2"]


@pytest.mark.parametrize("ks", [(0,), (1, -1), (1.5,)])
def test_a_cut_off_below_one_or_between_whole_numbers_is_refused(ks):
    with pytest.raises(ConfigError, match=r"metrics\.ks must be whole numbers of 1 or more"):
        metric_names(ks)


def test_as_many_neighbours_are_searched_as_the_largest_cut_off_needs():
    assert largest_k((1, 2)) == 10, "of precision@10"
    assert largest_k((1, 64)) == 64


def test_scores_follow_the_cut_offs():
    hits = np.zeros((2, 40), bool)
    hits[0, 1] = hits[1, 31] = True
    scores = score_queries(hits, np.array([1, 1]), np.array([2, 32]), ks=(1, 2, 32))
    assert list(scores) == metric_names((1, 2, 32))
    for k in (1, 2, 32):
        assert scores[f"recall@{k}"].tolist() == recall_at_k(hits, k).tolist()


def test_every_metric_has_a_sentence_and_unknown_names_have_none():
    for name in metric_names((1, 2, 1000)):
        assert explain(name).endswith(".") and "{" not in explain(name)
    assert "top 1000." in explain("recall@1000")
    assert [explain(name) for name in ("loss", "recall", "mrr@5", "recall@x", "")] == [""] * 5


def test_names_are_sorted_by_the_registry_and_then_by_cut_off():
    assert in_order(reversed([*metric_names((2, 16, 128)), "a", "b"])) == [*metric_names((2, 16, 128)), "a", "b"]


def test_one_entry_adds_a_metric(monkeypatch):
    entry = registry.Metric(
        "failed", lambda hits, positives, first_rank, k: 1 - recall_at_k(hits, k), "No hit in the top {k}.", at=(1, 3)
    )
    monkeypatch.setattr(registry, "REGISTRY", (entry, *registry.REGISTRY))
    assert metric_names() == ["failed@1", "failed@3", *DEFAULT]
    assert explain("failed@3") == "No hit in the top 3."
    hits = np.zeros((1, 10), bool)
    hits[0, 1] = True
    scores = score_queries(hits, np.array([1]), np.array([2]))
    assert (scores["failed@1"].item(), scores["failed@3"].item()) == (1, 0)
