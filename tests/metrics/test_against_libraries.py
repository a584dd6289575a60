"""Our numbers against those of the libraries whose names they share, on random input and on input made to mislead.

Where another library differs, the test shows where and by how much: docs/metrics.md says why.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_r_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)
from torchmetrics.retrieval import RetrievalHitRate

import conspecific.index.gallery
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.errors import DataError
from conspecific.evaluation.evaluate import evaluate
from conspecific.types import EmbeddingSet, EvalResult, Similarity

PML = {
    "recall@1": "precision_at_1",
    "r_precision": "r_precision",
    "map@r": "mean_average_precision_at_r",
    "mrr": "mean_reciprocal_rank",
}


def ours(
    vectors: np.ndarray, labels: np.ndarray, metric: Similarity = "l2", subset: tuple[Any, Any] | None = None
) -> EvalResult:
    """Score through the one path that every number of the package comes from."""
    names = [f"{label:012}" for label in labels]
    table = pl.DataFrame({"path": [f"{row}.jpg" for row in range(len(names))], "label": names})
    manifest = Manifest.from_table(Path("/images"), table)
    rows = np.arange(len(names))
    query, gallery = subset or (rows, rows)
    embeddings = EmbeddingSet(np.asarray(vectors, np.float32), rows, manifest.labels)
    return evaluate(embeddings, Subset(np.asarray(query), np.asarray(gallery)), manifest, metric)


def theirs(
    vectors: np.ndarray,
    labels: np.ndarray,
    subset: tuple[Any, Any] | None = None,
    k: int | str | None = None,
    include: Sequence[str] = tuple(PML.values()),
    **options: Any,
) -> dict[str, float]:
    """The same by pytorch-metric-learning, which ranks by L2."""
    calculator = AccuracyCalculator(include=tuple(include), k=k, device=torch.device("cpu"), **options)
    arrays = torch.tensor(vectors, dtype=torch.float32), torch.tensor(labels)
    if subset is None:
        found: dict[str, float] = calculator.get_accuracy(*arrays)
    else:
        query, gallery = ([array[torch.as_tensor(rows)] for array in arrays] for rows in subset)
        found = calculator.get_accuracy(*query, *gallery, ref_includes_query=False)
    return found


def assert_same(result: EvalResult, expected: dict[str, float]) -> None:
    for name, their_name in PML.items():
        assert result.metrics[name] == pytest.approx(expected[their_name], abs=1e-6), name


def clustered(labels: np.ndarray, rng: np.random.Generator, dimensions: int = 6, noise: float = 1.0) -> np.ndarray:
    """Vectors no two of which tie, each near its species' centre."""
    centres = rng.normal(size=(int(labels.max()) + 1, dimensions))
    return (centres[labels] + noise * rng.normal(size=(len(labels), dimensions))).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# ---- pytorch-metric-learning


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(4, 80),
    species=st.integers(1, 30),
    metric=st.sampled_from(["cosine", "l2"]),
    apart=st.booleans(),
)
def test_pml_agrees_on_random_input_with_lone_queries(
    seed: int, count: int, species: int, metric: Similarity, apart: bool
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, species, count), [0, 0, 1, 1])
    labels[[0, 1]] = 0
    vectors = clustered(np.append(labels, species), rng)[:-1]
    subset = (np.arange(count // 2 + 1), np.arange(count // 2 + 1, count + 4)) if apart else None
    for_theirs = unit(vectors) if metric == "cosine" else vectors
    assert_same(ours(vectors, labels, metric, subset), theirs(for_theirs, labels, subset))


def test_pml_agrees_on_the_mean_over_species() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(12), rng.integers(1, 40, 12))
    vectors = clustered(labels, rng)
    result, expected = ours(vectors, labels), theirs(vectors, labels, avg_of_avgs=True)
    for name, their_name in PML.items():
        assert result.macro[name] == pytest.approx(expected[their_name], abs=1e-6), name
        assert abs(result.macro[name] - result.metrics[name]) > 1e-3, "uneven species, so the two means differ"


def test_pml_agrees_on_exact_duplicates_of_one_species() -> None:
    labels = np.repeat(np.arange(8), 12)
    rng = np.random.default_rng(2)
    vectors = np.repeat(clustered(labels, rng)[::4], 4, axis=0)  # four copies of each image, whose ties are all hits
    assert_same(ours(vectors, labels), theirs(vectors, labels))


def test_pml_agrees_on_a_species_of_more_than_1023() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [1300, 150, 1])
    vectors = clustered(labels, rng, noise=2.0)
    result = ours(vectors, labels)
    assert_same(result, theirs(vectors, labels))
    cut = theirs(vectors, labels, k=1023, include=["r_precision"])
    assert abs(cut["r_precision"] - result.metrics["r_precision"]) > 1e-3, "theirs at a smaller k is another number"


def test_pml_merges_labels_beyond_2_to_the_24_and_ours_do_not() -> None:
    labels = np.repeat([2**24, 2**24 + 1], 10)
    vectors = np.random.default_rng(4).normal(size=(20, 3)).astype(np.float32)
    found = theirs(vectors, labels)
    assert [found[name] for name in PML.values()] == [1, 1, 1, 1], "float32 holds both labels as one number"
    small = theirs(vectors, labels - 2**24)
    assert small["precision_at_1"] < 0.8
    assert_same(ours(vectors, labels), small)


def test_pml_breaks_ties_by_row_and_ours_at_random() -> None:
    labels = np.repeat(np.arange(20), 10)
    alike = np.ones((200, 4), np.float32)
    positives, others = 9, 199
    ranks = np.arange(1, positives + 1)
    chance = (positives / others * (1 + (ranks - 1) * (positives - 1) / (others - 1)) / ranks).sum() / positives
    assert theirs(alike, labels)["mean_average_precision_at_r"] == pytest.approx(1 / 20), (
        "one species comes first, whole"
    )
    assert chance < 1 / 60, "three times that"
    assert ours(alike, labels).metrics["map@r"] == pytest.approx(chance, abs=0.005)


def test_pml_wraps_round_where_k_exceeds_the_gallery_and_ours_ends() -> None:
    vectors, labels = np.array([[0.0], [1.0], [2.0]], np.float32), np.array([0, 1, 0])
    subset = (np.array([0]), np.array([1, 2]))
    found = theirs(vectors, labels, subset, k=10, include=["mean_average_precision"])
    assert found["mean_average_precision"] > 1, "places that do not exist are taken for the last image"
    result = ours(vectors, labels, subset=subset)
    assert result.per_query["neighbor_ids"].to_list() == [[1, 2]]
    assert result.metrics["precision@10"] == pytest.approx(1 / 10)
    assert result.metrics["ndcg@10"] == pytest.approx(1 / np.log2(3))


def test_nothing_but_lone_queries_is_nan_for_pml_and_an_error_here() -> None:
    vectors, labels = np.eye(4, dtype=np.float32), np.arange(4)
    assert np.isnan(theirs(vectors, labels)["precision_at_1"])
    with pytest.raises(DataError, match="none of 4 queries"):
        ours(vectors, labels)


# ---- torchmetrics and scikit-learn, which take scores and targets of each query


def rankings(seed: int, metric: Similarity) -> tuple[EvalResult, np.ndarray, np.ndarray]:
    """A result, and the scores [Q, G] and targets [Q, G] it came from; every query has a positive, no scores tie."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.integers(0, 9, 120), np.repeat(np.arange(9), 1 + np.arange(9) * 3)])
    vectors = clustered(labels, rng)
    subset = np.arange(120), np.arange(120, len(labels))
    query, gallery = (vectors[rows].astype(np.float64) for rows in subset)
    if metric == "cosine":
        query, gallery = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (query, gallery))
        scores = query @ gallery.T
    else:
        scores = -((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    return ours(vectors, labels, metric, subset), scores, labels[subset[0]][:, None] == labels[subset[1]]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("seed", [0, 1])
def test_torchmetrics_agrees_once_scores_are_positive(seed: int, metric: Similarity) -> None:
    result, scores, targets = rankings(seed, metric)
    assert (scores < 0).any(), "as cosines and negative distances are"
    for row, score, target in zip(
        result.per_query.iter_rows(named=True), scores - scores.min() + 1, targets, strict=True
    ):
        preds, truth, positives = torch.tensor(score), torch.tensor(target), int(target.sum())
        for k in (1, 5, 10):
            assert row[f"recall@{k}"] == retrieval_hit_rate(preds, truth, top_k=k)
        expected = {
            "precision@10": retrieval_precision(preds, truth, top_k=10),
            "r_precision": retrieval_r_precision(preds, truth),
            "mrr": retrieval_reciprocal_rank(preds, truth),
            "ndcg@10": retrieval_normalized_dcg(preds, truth, top_k=10),
            # Theirs at top_k = R divides by the hits found there, Musgrave's by R.
            "map@r": retrieval_average_precision(preds, truth, top_k=positives) * retrieval_r_precision(preds, truth),
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(float(value), abs=1e-6), name
        share = retrieval_recall(preds, truth, top_k=10)
        assert share == pytest.approx(row["precision@10"] * 10 / positives), "their recall is the share of R"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_torchmetrics_takes_hits_of_negative_score_for_misses_and_ours_do_not(metric: Similarity) -> None:
    vectors = np.array([[1.0, 0.0], [-4.0, 0.4], [-1.0, 1.0], [-1.0, 3.0]], np.float32)
    result = ours(vectors, np.array([0, 1, 0, 0]), metric, subset=([0], [1, 2, 3]))
    scores = torch.tensor(result.per_query["neighbor_scores"][0].to_list())
    target = torch.tensor(result.per_query["neighbor_hits"][0].to_list())
    assert (scores < 0).all() and bool(target[0]), "the first answer is right and its score is below zero"
    wrong = {
        "mrr": retrieval_reciprocal_rank(scores, target),
        "precision": retrieval_precision(scores, target, top_k=1),
        "recall": retrieval_recall(scores, target, top_k=1),
        "map": retrieval_average_precision(scores, target),
    }
    assert [float(value) for value in wrong.values()] == [0, 0, 0, 0]
    assert result.metrics["mrr"] == result.metrics["recall@1"] == 1
    assert retrieval_hit_rate(scores, target, top_k=1) == retrieval_r_precision(scores, target) == 1, "these are right"
    assert retrieval_normalized_dcg(scores, target, top_k=10) == pytest.approx(result.metrics["ndcg@10"])


def test_torchmetrics_counts_a_lone_query_as_a_miss_by_default_and_ours_leaves_it_out() -> None:
    vectors, labels = np.array([[1.0], [2.0], [5.0]], np.float32), np.array([0, 0, 1])
    result = ours(vectors, labels)
    assert (result.metrics["recall@1"], result.facts["excluded"]) == (1, 1)
    index, target = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 0, 1, 0, 0, 0])
    scores = torch.tensor([0.9, 0.5, 0.9, 0.5, 0.9, 0.5])
    assert RetrievalHitRate(top_k=1)(scores, target, indexes=index) == pytest.approx(2 / 3)
    assert RetrievalHitRate(top_k=1, empty_target_action="skip")(scores, target, indexes=index) == 1


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_scikit_learn_agrees_on_ndcg(metric: Similarity) -> None:
    result, scores, targets = rankings(2, metric)
    assert result.metrics["ndcg@10"] == pytest.approx(ndcg_score(targets.astype(float), scores, k=10), abs=1e-6)


def test_scikit_learns_average_precision_is_not_map_at_r_but_mrr_where_r_is_one() -> None:
    result, scores, targets = rankings(3, "cosine")
    for row, score, target in zip(result.per_query.iter_rows(named=True), scores, targets, strict=True):
        whole = average_precision_score(target, score)
        assert row["map@r"] <= whole + 1e-12, "theirs goes on beyond rank R"
        if row["positives"] == 1:
            assert row["mrr"] == pytest.approx(whole)
    one = (result.per_query["positives"] == 1).to_numpy()
    assert one.sum() > 5
    found = label_ranking_average_precision_score(targets[one], scores[one])
    assert result.per_query["mrr"].to_numpy()[one].mean() == pytest.approx(found)


def test_ties_score_on_average_what_scikit_learn_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """ndcg_score averages over every order of a tie; ours draws one, so many draws must come to the same mean."""
    rng = np.random.default_rng(5)
    labels = np.concatenate([np.repeat(np.arange(3), 4), np.repeat(np.arange(3), [12, 10, 8])])
    vectors = rng.integers(0, 3, (len(labels), 1)).astype(np.float32)  # three places for 30 images
    subset = np.arange(12), np.arange(12, len(labels))
    scores = -((vectors[subset[0]] - vectors[subset[1]].T) ** 2)
    expected = ndcg_score((labels[subset[0]][:, None] == labels[subset[1]]).astype(float), scores, k=10)
    found = []
    for seed in range(200):
        monkeypatch.setattr(conspecific.index.gallery, "ORDER_SEED", seed)
        found.append(ours(vectors, labels, subset=subset).metrics["ndcg@10"])
    error = np.std(found) / len(found) ** 0.5
    assert error < 0.02
    assert np.mean(found) == pytest.approx(expected, abs=4 * error)
