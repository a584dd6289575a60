"""The one scoring path, against hand-counted numbers and a brute force; other libraries: tests/metrics."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.config.refine import RefineConfig
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.errors import ConfigError, DataError
from conspecific.evaluation import without_queries
from conspecific.evaluation.evaluate import evaluate
from conspecific.evaluation.refined import evaluate_refined
from conspecific.metrics import Geometry, describe_geometry, metric_names
from conspecific.types import EmbeddingSet, EvalResult, Similarity


def listed(labels: Sequence[int]) -> Manifest:
    """Images 0.jpg, 1.jpg, ... of these species; the species' numbers become those of their sorted names."""
    table = pl.DataFrame({"path": [f"{row}.jpg" for row in range(len(labels))], "label": [f"s{n:03}" for n in labels]})
    return Manifest.from_table(Path("/images"), table)


def embedded(vectors: object, manifest: Manifest) -> EmbeddingSet:
    array = np.asarray(vectors, np.float32)
    array = array[:, None] if array.ndim == 1 else array
    return EmbeddingSet(array, np.arange(len(manifest)), manifest.labels)


def everything(manifest: Manifest) -> Subset:
    return Subset(np.arange(len(manifest)), np.arange(len(manifest)))


def scored(
    vectors: object,
    labels: Sequence[int],
    query: Sequence[int] | None = None,
    gallery: Sequence[int] | None = None,
    metric: Similarity = "l2",
) -> EvalResult:
    manifest = listed(labels)
    rows = range(len(labels))
    subset = Subset(np.array(rows if query is None else query), np.array(rows if gallery is None else gallery))
    return evaluate(embedded(vectors, manifest), subset, manifest, metric)


def test_a_line_of_images_counted_by_hand() -> None:
    # At 0, 1, 3, 7 and 12, of species a, b, a, a and b: each image finds the others by their distance.
    result = scored([0, 1, 3, 7, 12], [0, 1, 0, 0, 1])
    table = result.per_query
    assert table["id"].to_list() == [0, 1, 2, 3, 4]
    assert table["neighbor_ids"].to_list() == [[1, 2, 3, 4], [0, 2, 3, 4], [1, 0, 3, 4], [2, 4, 1, 0], [3, 2, 1, 0]]
    hits = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 0]]
    assert table["neighbor_hits"].to_list() == [[bool(hit) for hit in row] for row in hits]
    assert table["positives"].to_list() == [2, 1, 2, 2, 1]
    assert table["recall@1"].to_list() == [0, 0, 0, 1, 0]
    assert table["recall@5"].to_list() == [1, 1, 1, 1, 1]
    assert table["precision@10"].to_list() == [0.2, 0.1, 0.2, 0.2, 0.1]
    assert table["r_precision"].to_list() == [0.5, 0, 0.5, 0.5, 0]
    assert table["map@r"].to_list() == [0.25, 0, 0.25, 0.5, 0]
    np.testing.assert_allclose(table["mrr"], [1 / 2, 1 / 4, 1 / 2, 1, 1 / 3])
    assert result.metrics["recall@1"] == pytest.approx(0.2)
    assert result.metrics["map@r"] == pytest.approx(0.2)


def test_table_and_facts_say_what_was_scored() -> None:
    manifest = listed([0, 1, 0, 0, 1])
    result = evaluate(
        embedded([0, 1, 3, 7, 12], manifest), everything(manifest), manifest, "l2", {"name": "model", "queries": -1}
    )
    first = result.per_query.row(0, named=True)
    assert (first["path"], first["label"]) == ("0.jpg", "s000")
    assert first["neighbor_paths"] == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert first["neighbor_labels"] == ["s001", "s000", "s000", "s001"]
    assert first["neighbor_scores"] == [-1, -9, -49, -144]
    geometry = describe_geometry(np.array([[0], [1], [3], [7], [12]], np.float32), manifest.labels)
    assert dict(result.facts) == {
        "geometry": geometry.to_json(),
        "name": "model",
        "similarity": "l2",
        "dimensions": 1,
        "queries": 5,
        "gallery": 5,
        "excluded": 0,
        "species": 2,
    }
    assert tuple(result.metrics) == tuple(result.macro) == tuple(metric_names())


def test_species_count_alike_in_the_macro_mean() -> None:
    result = scored([0, 1, 3, 7, 12], [0, 1, 0, 0, 1])
    assert result.macro["precision@10"] == pytest.approx(((0.2 + 0.2 + 0.2) / 3 + (0.1 + 0.1) / 2) / 2)
    assert result.metrics["precision@10"] == pytest.approx((0.2 + 0.2 + 0.2 + 0.1 + 0.1) / 5)


def test_embeddings_that_are_all_the_same_are_called_collapsed() -> None:
    same = np.tile(np.random.default_rng(0).normal(size=8), (12, 1))
    spread = np.random.default_rng(0).normal(size=(12, 8))
    shapes = [Geometry(**scored(vectors, [0, 1, 2] * 4).facts["geometry"]) for vectors in (same, spread)]
    assert [shape.is_collapsed for shape in shapes] == [True, False]


def test_queries_can_be_left_out_of_a_result() -> None:
    whole = scored([0, 1, 3, 7, 12, 13, 14], [0, 1, 0, 0, 1, 2, 2])
    subset = without_queries(whole, np.array([5, 3, 6, 99]))
    assert subset.per_query.equals(whole.per_query.filter(pl.col("id").is_in([0, 1, 2, 4])))
    assert subset.metrics["mrr"] == pytest.approx(subset.per_query["mrr"].mean())
    assert (subset.facts["queries"], subset.facts["species"], subset.facts["gallery"]) == (4, 2, 7)
    with pytest.raises(DataError, match="all 7 queries would be excluded"):
        without_queries(whole, np.arange(7))


def test_queries_search_the_gallery_alone() -> None:
    result = scored([0, 1, 3, 7, 12], [0, 1, 0, 0, 1], query=[0, 4], gallery=[1, 2, 3])
    assert result.per_query["neighbor_ids"].to_list() == [[1, 2, 3], [3, 2, 1]]
    assert result.per_query["positives"].to_list() == [2, 1]
    assert result.facts["gallery"] == 3


def test_a_query_that_is_also_in_the_gallery_leaves_itself_out_and_another_does_not() -> None:
    result = scored([0, 1, 3, 7, 12], [0, 0, 0, 0, 0], query=[0, 1], gallery=[1, 2, 3])
    assert result.per_query["neighbor_ids"].to_list() == [[1, 2, 3], [2, 3]]
    assert result.per_query["positives"].to_list() == [3, 2]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_exact_duplicates_are_found_and_the_query_itself_is_not(metric: Similarity) -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(6, 4)), 3, axis=0)  # three copies of each image
    result = scored(vectors, np.repeat(np.arange(6), 3).tolist(), metric=metric)
    for row in result.per_query.iter_rows(named=True):
        group = row["id"] // 3 * 3
        assert set(row["neighbor_ids"][:2]) == {group, group + 1, group + 2} - {row["id"]}
    assert all(result.metrics[name] == 1 for name in metric_names() if name != "precision@10")


def test_a_duplicate_of_another_species_counts_against() -> None:
    result = scored([0, 0, 5, 6], [0, 1, 0, 1])
    assert result.per_query["recall@1"].to_list() == [0, 0, 0, 0]


def test_queries_without_a_positive_are_left_out_and_counted() -> None:
    result = scored([0, 2, 3, 7, 8], [0, 0, 1, 2, 2])
    assert result.per_query["id"].to_list() == [0, 1, 3, 4]
    assert result.facts["excluded"] == 1
    assert result.facts["queries"] == 4
    assert result.facts["species"] == 2
    assert result.metrics["recall@1"] == pytest.approx(0.75)  # the lone image is still there to be found
    assert result.per_query["neighbor_ids"][1].to_list() == [2, 0, 3, 4]


def test_nothing_to_score_is_an_error_that_counts() -> None:
    with pytest.raises(DataError, match="none of 3 queries has another image of its species"):
        scored([0, 1, 2], [0, 1, 2])


def test_images_of_unknown_species_are_nobodys_positive() -> None:
    manifest = listed([0, 0, 0, 1, 1])
    known = embedded([0, 1, 2, 3, 4], manifest)
    labels = np.array([0, -1, 0, 1, -1])
    result = evaluate(EmbeddingSet(known.vectors, known.ids, labels), everything(manifest), manifest, "l2")
    assert result.per_query["id"].to_list() == [0, 2]
    assert result.facts["excluded"] == 3
    first = result.per_query.row(0, named=True)
    assert first["neighbor_labels"] == [None, "s000", "s001", None]
    assert first["neighbor_hits"] == [False, True, False, False]
    assert first["positives"] == 1


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_constant_embeddings_score_chance(metric: Similarity) -> None:
    labels = np.repeat(np.arange(20), 10).tolist()
    result = scored(np.ones((200, 4)), labels, metric=metric)
    assert result.metrics["recall@1"] == pytest.approx(1 / 20, abs=0.02)
    assert result.metrics["r_precision"] == pytest.approx(9 / 199, abs=0.03)
    assert result.metrics["map@r"] < 0.05


def test_a_gallery_smaller_than_k_gives_all_it_has() -> None:
    result = scored([0, 1, 2], [0, 0, 0])
    assert result.per_query["neighbor_ids"].list.len().to_list() == [2, 2, 2]
    assert result.metrics["recall@10"] == 1
    assert result.metrics["precision@10"] == pytest.approx(0.2)


def test_embeddings_may_lie_in_any_order_and_hold_more_than_the_part() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 60).tolist()
    manifest = listed(labels)
    whole = embedded(np.random.default_rng(1).normal(size=(60, 3)), manifest)
    order = np.random.default_rng(2).permutation(60)
    shuffled = EmbeddingSet(whole.vectors[order], whole.ids[order], whole.labels[order])
    subset = Subset(np.arange(10, 30), np.arange(25, 60))
    one, other = (evaluate(embeddings, subset, manifest, "l2") for embeddings in (whole, shuffled))
    assert one.per_query.equals(other.per_query)


def test_cut_offs_are_as_asked_and_may_exceed_the_gallery() -> None:
    manifest = listed([0, 1, 0, 0, 1])
    images = embedded([0, 1, 3, 7, 12], manifest)
    result = evaluate(images, everything(manifest), manifest, "l2", ks=(1, 2, 3, 40))
    assert list(result.metrics) == list(result.macro) == metric_names((1, 2, 3, 40))
    assert [result.metrics[f"recall@{k}"] for k in (1, 2, 3, 40)] == pytest.approx([0.2, 0.6, 0.8, 1])
    assert result.per_query["recall@3"].to_list() == [1, 0, 1, 1, 1]
    assert list(without_queries(result, np.array([0])).metrics) == list(result.metrics)


def test_an_embedding_that_is_missing_is_an_error() -> None:
    manifest = listed([0, 0, 1, 1])
    some = embedded([0, 1, 2, 3], manifest).select(np.array([0, 1, 2]))
    with pytest.raises(KeyError, match=r"1 sample ids are not among these embeddings, first \[3\]"):
        evaluate(some, Subset(np.arange(3), np.arange(4)), manifest, "l2")


@pytest.mark.parametrize("hits_at_once", [1, 40, 300])
def test_scoring_in_blocks_changes_nothing(hits_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 8, 70).tolist()
    arguments = rng.normal(size=(70, 3)), labels, range(40), range(30, 70)
    whole = scored(*arguments)
    monkeypatch.setattr(sys.modules["conspecific.evaluation.evaluate"], "BLOCK_HITS", hits_at_once)
    blocks = scored(*arguments)
    assert blocks.per_query.equals(whole.per_query)
    assert blocks.metrics == whole.metrics


def by_brute_force(distances: np.ndarray, labels: np.ndarray, subset: Subset) -> dict[str, float]:
    """Every metric written down as its definition says, one query at a time."""
    values: dict[str, list[float]] = {name: [] for name in metric_names()}
    for query in subset.query:
        others = [int(other) for other in subset.gallery if other != query]
        ranked = sorted(others, key=lambda other: distances[query, other])
        hits = [bool(labels[other] == labels[query]) for other in ranked]
        total = sum(hits)
        if not total:
            continue
        for k in (1, 5, 10):
            values[f"recall@{k}"].append(float(any(hits[:k])))
        values["precision@10"].append(sum(hits[:10]) / 10)
        values["r_precision"].append(sum(hits[:total]) / total)
        precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(total) if hits[rank]]
        values["map@r"].append(sum(precisions) / total)
        values["mrr"].append(1 / (hits.index(True) + 1))
        gains = [1 / np.log2(rank + 2) for rank in range(10)]
        reached = sum(gain for gain, hit in zip(gains, hits, strict=False) if hit)
        values["ndcg@10"].append(reached / sum(gains[:total]))
    return {name: float(np.mean(found)) for name, found in values.items()}


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(6, 60),
    species=st.integers(1, 12),
    metric=st.sampled_from(["cosine", "l2"]),
)
def test_agrees_with_a_brute_force(seed: int, count: int, species: int, metric: Similarity) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, species, count - 2), [0, 0])
    vectors = rng.normal(size=(count, 5))
    manifest = listed(labels.tolist())
    query = np.sort(rng.permutation(count)[: count // 2 + 1])
    subset = Subset(np.union1d(query, [count - 1]), np.union1d(rng.permutation(count)[: count // 2], [count - 2]))
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    result = evaluate(embedded(vectors, manifest), subset, manifest, metric)
    expected = by_brute_force(distances, manifest.labels, subset)
    assert result.metrics == pytest.approx(expected)


def test_answers_of_ones_own_group_are_left_out() -> None:
    """Bursts: the nearest image of each query is of its own burst, the next one of another burst or species."""
    labels = [0, 0, 0, 0, 1, 1, 1]
    manifest = listed(labels)
    bursts = ["a", "a", "b", "b", "c", "c", None]
    manifest = Manifest.from_table(manifest.root, manifest.table.with_columns(group=pl.Series(bursts)))
    embeddings = embedded([0.0, 0.1, 3.0, 3.1, 2.0, 2.1, 9.0], manifest)
    with_own = evaluate(embeddings, everything(manifest), manifest, "l2", {})
    without = evaluate(embeddings, everything(manifest), manifest, "l2", {}, exclude_group=True)
    assert with_own.metrics["recall@1"] == pytest.approx(6 / 7) and "exclude_group" not in with_own.facts
    assert without.facts["exclude_group"] is True
    assert without.per_query["positives"].to_list() == [2, 2, 2, 2, 1, 1, 2]
    assert without.per_query["recall@1"].to_list() == [0, 0, 0, 0, 0, 0, 0]
    assert without.per_query["neighbor_ids"][0].to_list() == [4, 5, 2, 3, 6], "neither itself nor image 1"
    assert without.per_query["mrr"].to_list() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 5, 1 / 5, 1 / 3])
    assert without.per_query["group"].to_list() == with_own.per_query["group"].to_list() == manifest.groups.tolist()


def test_refinements_by_which_a_group_would_lend_itself_answers_are_refused() -> None:
    manifest = listed([0, 0, 1, 1])
    manifest = Manifest.from_table(manifest.root, manifest.table.with_columns(group=pl.Series(["a", None, "a", None])))
    embeddings, subset = embedded(np.eye(4), manifest), everything(manifest)
    found = evaluate_refined(
        embeddings, None, subset, manifest, "cosine", RefineConfig("query_expansion"), {}, exclude_group=True, ks=(1,)
    )
    assert found.facts["exclude_group"] and 2 not in found.per_query["neighbor_ids"][0].to_list()
    with pytest.raises(ConfigError, match="leaves out the query alone, not its group"):
        evaluate_refined(
            embeddings, None, subset, manifest, "cosine", RefineConfig("k_reciprocal"), {}, exclude_group=True, ks=(1,)
        )
