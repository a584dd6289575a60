"""Scoring plain arrays: labels and vectors as users have them, and what is refused."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from conspecific.errors import ConfigError, DataError
from conspecific.evaluation import compare
from conspecific.evaluation.arrays import evaluate
from conspecific.types import EvalResult

VECTORS = np.array([[0.0], [1], [3], [7], [12]])
SPECIES = ["a", "b", "a", "a", "b"]


def test_the_numbers_are_those_counted_by_hand() -> None:
    result = evaluate(VECTORS, SPECIES, metric="l2", ks=(1, 2, 4, 8))
    assert list(result.metrics)[:4] == ["recall@1", "recall@2", "recall@4", "recall@8"]
    assert result.metrics["recall@1"] == pytest.approx(0.2)
    assert result.per_query["map@r"].to_list() == [0.25, 0, 0.25, 0.5, 0]
    assert result.per_query["id"].to_list() == [0, 1, 2, 3, 4]
    assert result.per_query["path"].to_list() == ["0", "1", "2", "3", "4"]
    assert result.per_query["neighbor_ids"][0].to_list() == [1, 2, 3, 4]
    assert (result.facts["queries"], result.facts["gallery"], result.facts["species"]) == (5, 5, 2)


@pytest.mark.parametrize(
    "labels",
    [
        [7, 100, 7, 7, 100],
        np.array([7, 100, 7, 7, 100], np.int32),
        torch.tensor([1, 0, 1, 1, 0]),
        ["007", "7", "007", "007", "7"],
        np.array(SPECIES),
        np.array(SPECIES, object),
        pl.Series(SPECIES),
        (-5, 3, -5, -5, 3),
    ],
)
def test_labels_come_back_as_they_were_given(labels: Any) -> None:
    result = evaluate(VECTORS, labels, metric="l2")
    assert result.metrics == evaluate(VECTORS, SPECIES, metric="l2").metrics
    given = list(labels.tolist() if hasattr(labels, "tolist") else labels)
    assert result.per_query["label"].to_list() == given
    for row in result.per_query.iter_rows(named=True):
        assert row["neighbor_labels"] == [given[place] for place in row["neighbor_ids"]]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64, torch.float16, torch.bfloat16, list])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_vectors_of_any_type_score_the_same(kind: Any, metric: Any) -> None:
    rows = [[1, 2], [2, 4], [3, 1], [4, 1], [0, 5]]
    given = rows if kind is list else np.array(rows, kind) if isinstance(kind, type) else torch.tensor(rows, dtype=kind)
    expected = evaluate(np.array(rows, np.float32), SPECIES, metric=metric)
    assert evaluate(given, SPECIES, metric=metric).metrics == expected.metrics


@pytest.mark.parametrize("labels", [["a", None, "a", "b", None], [4, -1, 4, 9, -1], [4, None, 4, 9, -1]])
def test_unknown_labels_are_nobodys_positive(labels: list[Any]) -> None:
    result = evaluate(VECTORS, labels, metric="l2")
    assert result.per_query["id"].to_list() == [0, 2]
    assert result.facts["excluded"] == 3
    assert result.per_query["neighbor_labels"][0].to_list() == [None, labels[2], labels[3], None]


def test_a_gallery_of_other_images_is_searched_alone() -> None:
    result = evaluate(VECTORS[:2], [1, 2], gallery=VECTORS[2:], gallery_labels=[1, 1, 2], metric="l2")
    assert result.per_query["neighbor_ids"].to_list() == [[0, 1, 2], [0, 1, 2]]
    assert result.per_query["id"].to_list() == [0, 1]
    assert result.per_query["positives"].to_list() == [2, 1]
    assert result.metrics["recall@1"] == 0.5
    one = evaluate(VECTORS[:1], [1], gallery=VECTORS[2:], gallery_labels=[1, 1, 2], metric="l2")
    assert one.facts["geometry"] is None


def test_a_query_leaves_itself_out_of_a_gallery_that_names_it() -> None:
    ids = ["e.jpg", "b.jpg"]
    gallery_ids = ["a.jpg", "b.jpg", "c.jpg"]
    given = {"gallery": VECTORS[:3], "gallery_labels": ["a", "b", "b"], "metric": "l2"}
    result = evaluate(VECTORS[[4, 1]], ["b", "b"], ids=ids, gallery_ids=gallery_ids, **given)
    assert result.per_query["path"].to_list() == ids
    assert result.per_query["id"].to_list() == [0, 1]
    assert result.per_query["neighbor_paths"].to_list() == [["c.jpg", "b.jpg", "a.jpg"], ["a.jpg", "c.jpg"]]
    assert result.per_query["positives"].to_list() == [2, 1]
    assert evaluate(VECTORS[[1]], ["b"], **given).per_query["positives"].to_list() == [2], "without ids it is another"
    with pytest.raises(DataError, match=r"1 queries have another label in the gallery, first id b\.jpg"):
        evaluate(VECTORS[[4, 1]], ["b", "a"], ids=ids, gallery_ids=gallery_ids, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vectors": [[1.0], [np.nan], [2], [3], [np.inf]]}, r"2 of 5 vectors hold NaN or Inf, first rows \[1, 4\]"),
        ({"vectors": [[1.0], [1e200], [2], [3], [4]]}, r"1 of 5 vectors hold NaN or Inf, first rows \[1\]"),
        ({"vectors": [1.0, 2, 3, 4, 5]}, r"vectors must be numbers of shape \[N, D\]"),
        ({"vectors": np.empty((0, 3)), "labels": []}, r"vectors must be numbers of shape \[N, D\], N and D from 1"),
        ({"vectors": [["x"]] * 5}, "vectors must be numbers"),
        ({"labels": ["a", "a"]}, "found 2 labels for 5 vectors"),
        ({"labels": [0.5] * 5}, "labels must be strings or integers; found Float64"),
        ({"labels": ["a", 1, "a", 1, 1]}, "labels must be all strings or all integers"),
        ({"labels": list("abcde")}, "none of 5 queries has another image of its species"),
        ({"labels": [None] * 5}, "none of 5 queries has another image of its species"),
        ({"gallery": np.empty((0, 1)), "gallery_labels": []}, r"gallery must be numbers of shape \[N, D\], N and D"),
        ({"gallery": VECTORS}, "gallery and gallery_labels must be given together"),
        ({"gallery_ids": SPECIES}, "gallery_ids only with them"),
        ({"gallery": VECTORS, "gallery_labels": [1, 2, 3, 4, 5]}, "must be of one type; found"),
        ({"gallery": [[1, 2]], "gallery_labels": ["a"]}, "queries have 1 dimensions and the gallery 2"),
        ({"ids": ["a", "a", "b", "c", "d"]}, "ids must be 5 different names, one for each vector; found 4"),
        ({"max_queries": 0}, "max_queries must be 1 or more, or None for all queries; found 0"),
        ({"metric": "euclid"}, r"metric=euclid is unknown\. Known here: cosine, l2\."),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(**({"vectors": VECTORS, "labels": SPECIES} | given))
    with pytest.raises(ConfigError, match=r"metrics\.ks"):
        evaluate(VECTORS, SPECIES, ks=(0,))


def test_a_sample_of_the_queries_is_scored_in_the_whole_gallery() -> None:
    rng = np.random.default_rng(1)
    labels = np.append(rng.integers(0, 6, 60), 99)  # the last has no positive and is never drawn
    vectors = rng.normal(size=(61, 4))
    whole, sample = evaluate(vectors, labels), evaluate(vectors, labels, max_queries=25)
    assert sample.facts["sampled_from"] == 60 and sample.facts["queries"] == 25 and sample.facts["gallery"] == 61
    assert sample.facts["excluded"] == 1 and "sampled_from" not in whole.facts
    assert sample.per_query.equals(whole.per_query.filter(pl.col("id").is_in(sample.per_query["id"].to_list())))
    other = evaluate(-vectors + 1, labels, max_queries=25)
    assert other.per_query["id"].to_list() == sample.per_query["id"].to_list()
    assert evaluate(vectors, labels, max_queries=60).metrics == whole.metrics


def test_two_results_are_compared_by_their_ids() -> None:
    rng = np.random.default_rng(0)
    labels, ids = rng.integers(0, 4, 40), [f"image{number}" for number in range(40)]
    other = rng.normal(size=(40, 8))
    better = other + np.eye(8)[labels] * 3
    order = rng.permutation(40)
    reference = evaluate(other[order], labels[order], ids=np.array(ids)[order])
    found = compare(evaluate(better, labels, ids=ids), reference)
    assert evaluate(better, labels, ids=ids, reference=reference).differences == tuple(found)
    assert [difference.metric for difference in found][-1] == "ndcg@10"
    assert found[0].is_significant and found[0].value > found[0].other


def test_a_result_becomes_a_pandas_table_if_pandas_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    result: EvalResult = evaluate(VECTORS, SPECIES)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="to_pandas needs pandas: pip install pandas"):
        result.to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas")
    assert list(result.to_pandas().columns) == result.per_query.columns
