"""Queries of known and of new species: who they are, and what a threshold of validation does to them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.errors import RunError
from conspecific.evaluation import without_queries
from conspecific.evaluation.evaluate import evaluate
from conspecific.evaluation.rejection import rejection_of, with_rejection
from conspecific.types import EmbeddingSet, EvalResult


def listed(labels: Sequence[str | None]) -> Manifest:
    return Manifest.from_table(
        Path("/images"), pl.DataFrame({"path": [f"{row:03}" for row in range(len(labels))], "label": labels})
    )


def scored(
    labels: Sequence[str | None], noise: float, query: Sequence[int], gallery: Sequence[int], seed: int = 0
) -> EvalResult:
    """Score images around a direction for each species. noise: their spread."""
    manifest, rng = listed(labels), np.random.default_rng(seed)
    centres = {name: rng.normal(size=16) for name in dict.fromkeys(labels)}
    vectors = np.stack([centres[name] + noise * rng.normal(size=16) for name in labels]).astype(np.float32)
    embeddings = EmbeddingSet(vectors, np.arange(len(labels)), manifest.labels)
    return evaluate(embeddings, Subset(np.array(query), np.array(gallery)), manifest, "cosine", {"name": "model"})


KNOWN = ["owl", "wren", "jay", "tit"] * 20
NEW = ["crow", "stork"] * 8
QUERIES = [*range(40), *range(80, 96)]


@pytest.fixture
def mixed() -> EvalResult:
    """Forty queries of four species in a gallery of as many images, sixteen of two others, and three distractors."""
    return scored([*KNOWN, *NEW, None, None, None], 1.0, QUERIES, [*range(40, 80), 96, 97, 98])


def test_queries_of_new_species_are_kept_apart(mixed: EvalResult, tmp_path: Path) -> None:
    assert mixed.new is not None and mixed.new["id"].to_list() == list(range(80, 96))
    assert (mixed.facts["queries"], mixed.facts["excluded"], mixed.facts["new"]) == (40, 16, 16)
    assert (
        set(mixed.new["label"]) == {"crow", "stork"} and mixed.new["neighbor_scores"].list.len().to_list() == [10] * 16
    )
    mixed.save(tmp_path / "test_model")
    again = EvalResult.load(tmp_path / "test_model")
    assert again.new is not None and again.new.equals(mixed.new) and again.per_query.equals(mixed.per_query)
    fewer = without_queries(mixed, np.array([0, 80, 81]))
    assert fewer.new is not None and fewer.facts["new"] == fewer.new.height == 14
    (tmp_path / "test_model_new.parquet").write_bytes(b"no table")
    with pytest.raises(RunError, match="is not a stored evaluation result"):
        EvalResult.load(tmp_path / "test_model")


def test_without_any_nothing_is_kept(tmp_path: Path) -> None:
    result = scored(KNOWN, 0.5, range(40), range(40, 80))
    assert result.new is None and "new" not in result.facts
    result.save(tmp_path / "test_model")
    assert EvalResult.load(tmp_path / "test_model").new is None and not list(tmp_path.glob("*_new*"))


@pytest.mark.parametrize(
    "images", [[f"s{place}" for place in range(3)] * 14, ["a"] * 39 + ["b"] * 3, ["a", "a", "b", None]]
)
def test_the_other_score_is_that_of_the_nearest_of_another_species(images: list[str | None]) -> None:
    rows = range(len(images))
    asked = [row for row in rows if images[row] is not None]
    result = scored(images, 2.0, asked, rows)
    manifest, rng = listed(images), np.random.default_rng(0)
    centres = {name: rng.normal(size=16) for name in dict.fromkeys(images)}
    vectors = np.stack([centres[name] + 2.0 * rng.normal(size=16) for name in images])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for query, found in result.per_query.select("id", "other_score").rows():
        others = [row for row in rows if manifest.labels[row] != manifest.labels[query]]
        assert found == pytest.approx((vectors[others] @ vectors[query]).max(), abs=1e-5)


def test_without_another_species_there_is_no_other_score() -> None:
    result = scored(["a"] * 12 + ["b"], 0.5, range(12), range(12))
    assert result.per_query["other_score"].to_list() == [None] * 12
    assert rejection_of(with_rejection({"model": result}, {}, "model")["model"]) is None


def test_the_threshold_of_validation_is_judged_on_test(mixed: EvalResult) -> None:
    validation = scored(KNOWN, 1.0, range(40), range(40, 80), seed=1)
    found = rejection_of(with_rejection({"model": mixed}, {"model": validation}, "model")["model"])
    assert found is not None and not found.asked_twice and (found.known, found.new) == (40, 16)
    reached = validation.per_query["neighbor_scores"].list.first() >= found.threshold
    assert 38 <= reached.sum() <= 39
    assert mixed.new is not None
    known, new = (table["neighbor_scores"].list.first() for table in (mixed.per_query, mixed.new))
    means = {name: each.mean for name, each in found.statistics.items()}
    assert means["kept"] == (known >= found.threshold).mean() and means["refused"] == (new < found.threshold).mean()
    right = mixed.per_query["neighbor_hits"].list.first() & (known >= found.threshold)
    kept = (known >= found.threshold).sum() + (new >= found.threshold).sum()
    assert means["precision"] == pytest.approx(right.sum() / kept)
    assert means["refusal_precision"] == pytest.approx((new < found.threshold).sum() / (56 - kept))
    assert means["oscr"] <= min(means["auroc"], mixed.metrics["recall@1"]) and means["auroc"] > 0.8
    assert all(each.low <= each.mean <= each.high for each in found.statistics.values())
    assert found.curve[0] == (0, 0) and found.curve[-1] == (1, 1)
    assert "40 queries of species in the gallery, and 16 of species that are not: AUROC 0." in found.describe()[0]


def test_with_too_few_new_ones_each_query_is_asked_twice() -> None:
    result = scored([*KNOWN, "crow"], 0.5, range(81), range(81))
    told = with_rejection({"model": result}, {}, "model")["model"]
    found = rejection_of(told)
    assert found is not None and found.asked_twice and found.known == found.new == 80 and found.threshold is None
    assert set(found.statistics) == {"auroc", "fpr", "oscr"} and len(found.describe()) == 1
    pairs = (
        result.per_query["neighbor_scores"].list.first().to_numpy()[:, None]
        > result.per_query["other_score"].to_numpy()
    )
    assert found.statistics["auroc"].mean == pytest.approx(pairs.mean())


def test_encoders_are_compared_on_the_same_resamples() -> None:
    names = {"pooled": 1.5, "model": 0.7}
    tested = {name: scored(KNOWN, noise, range(80), range(80)) for name, noise in names.items()}
    told = with_rejection(tested, {}, "model")
    best, other = rejection_of(told["model"]), rejection_of(told["pooled"])
    assert best is not None and other is not None and set(best.gains) == {"pooled"} and not other.gains
    gain = best.gains["pooled"]["auroc"]
    assert gain.mean == pytest.approx(best.statistics["auroc"].mean - other.statistics["auroc"].mean)
    apart = best.statistics["auroc"].high - other.statistics["auroc"].low
    assert 0 < gain.low < gain.mean < gain.high < apart, "paired, so narrower"
    same = with_rejection({"pooled": tested["model"], "model": tested["model"]}, {}, "model")["model"]
    assert {each.low for each in rejection_of(same).gains["pooled"].values()} == {0.0}  # type: ignore[union-attr]


def test_species_are_resampled_whole_where_they_are_new_to_the_encoder() -> None:
    result = scored(KNOWN, 1.0, range(80), range(80))
    widths = []
    for protocol in ("seen", "unseen"):
        told = replace(result, facts={**result.facts, "protocol": protocol})
        found = rejection_of(with_rejection({"model": told}, {}, "model")["model"])
        assert found is not None
        widths.append(found.statistics["auroc"].high - found.statistics["auroc"].low)
    assert widths[0] != widths[1]


def test_a_damaged_fact_is_refused(mixed: EvalResult) -> None:
    for stored in ({}, {"statistics": 1}, "much", {"statistics": {}, "curve": [1], "gains": {}}):
        with pytest.raises(RunError, match="the rejection of model cannot be read"):
            rejection_of(replace(mixed, facts={**mixed.facts, "rejection": stored}))
    assert rejection_of(mixed) is None
