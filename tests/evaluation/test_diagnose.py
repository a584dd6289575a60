"""What a result says beyond its means, counted by hand and against plain loops."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.errors import RunError
from conspecific.evaluation.diagnose import by_species, calibrate, confused_pairs, describe_imbalance, hubs
from conspecific.evaluation.evaluate import evaluate
from conspecific.metrics import metric_names, skewness
from conspecific.types import EmbeddingSet, EvalResult

from ..runs.conftest import result_of

IMAGES = ["a1", "a2", "b1", "b2", "c1", "u1"]
SPECIES = {"a": "ant", "b": "bee", "c": "cat", "u": None}


def asked(queries: dict[str, Sequence[tuple[str, float]]], **facts: object) -> EvalResult:
    """A result from the images each query found; an image's first letter is its species, u unknown."""
    rows = []
    for query, answers in queries.items():
        label = SPECIES[query[0]]
        labels = [SPECIES[path[0]] for path, _ in answers]
        rows.append(
            {
                "id": IMAGES.index(query),
                "path": query,
                "label": label,
                "positives": 1,
                "neighbor_ids": [IMAGES.index(path) for path, _ in answers],
                "neighbor_paths": [path for path, _ in answers],
                "neighbor_labels": labels,
                "neighbor_scores": [score for _, score in answers],
                "neighbor_hits": [found == label for found in labels],
                **dict.fromkeys(metric_names(), 0.0),
            }
        )
    table = pl.DataFrame(rows, schema_overrides={"neighbor_labels": pl.List(pl.String)})
    given = {"gallery": len(IMAGES), "similarity": "cosine", "subset": "test"} | facts
    return EvalResult(metrics=dict.fromkeys(metric_names(), 0.0), macro={}, per_query=table, facts=given)


@pytest.fixture
def four() -> EvalResult:
    return asked(
        {
            "a1": [("b1", 0.9), ("a2", 0.8), ("u1", 0.7)],
            "a2": [("a1", 0.6), ("c1", 0.5)],
            "b1": [("a1", 0.95), ("b2", 0.4), ("u1", 0.2)],
            "b2": [("a1", 0.95), ("b1", 0.3)],
        }
    )


@pytest.fixture(scope="module")
def random() -> EvalResult:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 240)
    table = {"path": [f"{row}.jpg" for row in range(240)], "label": [f"s{number}" for number in labels]}
    manifest = Manifest.from_table(Path("/images"), pl.DataFrame(table))
    vectors = (rng.normal(size=(9, 8))[labels] * 0.7 + rng.normal(size=(240, 8))).astype(np.float32)
    known = np.where(rng.random(240) < 0.1, -1, manifest.labels)
    subset = Subset(np.arange(60), np.arange(50, 240))
    embeddings = EmbeddingSet(vectors, np.arange(240), known)
    return evaluate(embeddings, subset, manifest, "cosine", {"subset": "test"})


def test_confused_pairs_counted_by_hand(four: EvalResult) -> None:
    ant_bee, ant_cat = confused_pairs(four).rows(named=True)
    assert (ant_bee["label"], ant_bee["other"], ant_bee["wrong"]) == ("ant", "bee", 3)
    assert ant_bee["share"] == pytest.approx(3 / 10)
    # 0.95 twice: the query with the lower sample id is shown
    assert [ant_bee[name] for name in ("query_path", "query_label", "answer_path", "answer_label", "score")] == [
        "b1",
        "bee",
        "a1",
        "ant",
        0.95,
    ]
    assert (ant_cat["label"], ant_cat["other"], ant_cat["wrong"]) == ("ant", "cat", 1)
    assert ant_cat["share"] == pytest.approx(1 / 5), "cat asked nothing: only the five answers given to ant count"
    assert ant_cat["query_path"] == "a2" and ant_cat["answer_path"] == "c1"


def test_confused_pairs_agree_with_plain_loops(random: EvalResult) -> None:
    wrong: Counter[tuple[str, str]] = Counter()
    given: Counter[str] = Counter()
    best: dict[tuple[str, str], float] = {}
    for row in random.per_query.iter_rows(named=True):
        given[row["label"]] += len(row["neighbor_ids"])
        for label, score in zip(row["neighbor_labels"], row["neighbor_scores"], strict=True):
            if label is not None and label != row["label"]:
                pair = (min(label, row["label"]), max(label, row["label"]))
                wrong[pair] += 1
                best[pair] = max(best.get(pair, -2), score)
    expected = sorted(wrong, key=lambda pair: (-wrong[pair], pair))
    found = confused_pairs(random, most=100)
    assert found.select("label", "other").rows() == expected
    assert found["wrong"].to_list() == [wrong[pair] for pair in expected]
    np.testing.assert_allclose(found["share"], [wrong[a, b] / (given[a] + given[b]) for a, b in expected])
    np.testing.assert_allclose(found["score"], [best[pair] for pair in expected])
    assert confused_pairs(random, most=3).equals(found.head(3))


def test_nothing_confused_is_an_empty_table() -> None:
    found = confused_pairs(asked({"a1": [("a2", 0.5)], "b1": [("b2", 0.5), ("u1", 0.1)]}))
    assert found.is_empty()
    assert found.columns[:4] == ["label", "other", "wrong", "share"]


def test_hubs_counted_by_hand(four: EvalResult) -> None:
    found = hubs(four)
    assert found.images.rows() == [
        ("a1", "ant", 3, 2),
        ("b1", "bee", 2, 1),
        ("u1", None, 2, 0),
        ("c1", "cat", 1, 1),
        ("a2", "ant", 1, 0),
        ("b2", "bee", 1, 0),
    ]
    assert found.never == 0
    assert found.expected == pytest.approx(10 / 6)
    assert found.skewness == pytest.approx(skewness(np.array([3, 2, 2, 1, 1, 1])))


def test_images_that_are_never_answers_count_as_zeros(random: EvalResult) -> None:
    counts = Counter(path for paths in random.per_query["neighbor_paths"] for path in paths)
    found = hubs(random, most=5)
    zeros = 190 - len(counts)
    assert zeros > 0 and found.never == pytest.approx(zeros / 190)
    assert found.skewness == pytest.approx(skewness(np.array([*counts.values(), *[0] * zeros])))
    assert found.expected == pytest.approx(random.per_query.height * 10 / 190)
    assert found.images["count"].to_list() == [count for _, count in counts.most_common(5)]
    assert all(counts[path] == count for path, count in found.images.select("path", "count").rows())


@pytest.mark.parametrize("facts", [{"gallery": 3}, {"gallery": 0}])
def test_a_gallery_smaller_than_its_answers_is_an_error(facts: dict[str, object]) -> None:
    with pytest.raises(RunError, match="names 4 images in its answers and a gallery of"):
        hubs(asked({"a1": [("a2", 1.0), ("b1", 0.5)], "b1": [("a1", 0.2), ("b2", 0.1)]}, **facts))


def test_species_are_listed_worst_first(random: EvalResult) -> None:
    found = by_species(random)
    assert found.columns == ["label", "queries", "positives", *metric_names()]
    assert found["queries"].sum() == random.per_query.height
    assert found["label"].n_unique() == found.height == random.facts["species"]
    order = found.select("recall@1", "map@r", "label").rows()
    assert order == sorted(order)
    for row in found.iter_rows(named=True):
        own = random.per_query.filter(pl.col("label") == row["label"])
        for name in ("positives", *metric_names()):
            assert row[name] == pytest.approx(own[name].mean()), name
    assert found["ndcg@10"].mean() == pytest.approx(random.macro["ndcg@10"]), "macro is the mean of this table"


def test_a_threshold_is_chosen_on_one_part_and_judged_on_another(four: EvalResult) -> None:
    chosen_on = asked({"a1": [("a2", 0.9), ("b1", 0.62)], "b1": [("b2", 0.62), ("a1", 0.1)]}, subset="val")
    found = calibrate(chosen_on, four, precision=0.6)
    assert found.threshold == pytest.approx(0.62), "of 0.9 right, 0.62 right and wrong, 0.1 wrong: 2 of 3"
    assert found.precision == pytest.approx(1 / 4), "of 0.95, 0.95, 0.9 wrong and 0.8 right; u1 is not known"
    assert found.kept == pytest.approx(4 / 8)
    assert found.answered == pytest.approx(3 / 4)
    assert found.similarity == "cosine"
    expected = [(0.95, 0, 0.25), (0.9, 0, 0.375), (0.8, 0.25, 0.5), (0.6, 0.4, 0.625)]
    assert [pytest.approx(point) for point in expected] == found.curve[:4]
    assert found.curve[-1] == pytest.approx((0.3, 0.5, 1))


def test_a_precision_out_of_reach_keeps_nothing(four: EvalResult) -> None:
    wrong = asked({"a1": [("b1", 0.9)]}, subset="val")
    found = calibrate(wrong, four)
    assert (found.threshold, found.precision, found.kept, found.answered) == (None, None, 0, 0)
    above = calibrate(asked({"a1": [("a2", 0.99)]}, subset="val"), four)
    assert (above.threshold, above.precision, above.kept, above.answered) == (0.99, None, 0, 0)
    assert len(above.curve) == 7


def test_scores_of_another_kind_fit_no_threshold(four: EvalResult) -> None:
    other = asked({"a1": [("a2", -3.0)]}, similarity="l2", name="flatten")
    with pytest.raises(RunError, match="a threshold on l2 scores, of flatten, does not fit cosine scores"):
        calibrate(other, four)


def test_the_curve_is_thinned_and_keeps_its_ends(random: EvalResult) -> None:
    found = calibrate(random, random, precision=0.4)
    assert len(found.curve) == 200
    thresholds = [threshold for threshold, _, _ in found.curve]
    assert thresholds == sorted(thresholds, reverse=True)
    known = random.per_query.explode("neighbor_labels", "neighbor_scores", "neighbor_hits").drop_nulls(
        "neighbor_labels"
    )
    assert thresholds[0] == pytest.approx(known["neighbor_scores"].max())
    assert found.curve[-1] == pytest.approx((known["neighbor_scores"].min(), known["neighbor_hits"].mean(), 1))
    assert found.precision is not None and found.precision >= 0.4, "on the subset it was chosen on, it is reached"


def test_diagnosis_reads_what_was_stored(random: EvalResult, tmp_path: Path) -> None:
    random.save(tmp_path / "test_model")
    stored = EvalResult.load(tmp_path / "test_model")
    assert by_species(stored).equals(by_species(random))
    assert confused_pairs(stored).equals(confused_pairs(random))
    assert hubs(stored).images.equals(hubs(random).images)
    assert calibrate(stored, stored) == calibrate(random, random)


@pytest.mark.slow
def test_a_hundred_thousand_queries_take_seconds() -> None:
    count, species = 100_000, 1000
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, species, count), rng.integers(0, count, (count, 10))
    names = pl.Series([f"species_{number:04}" for number in range(species)])
    answers = pl.DataFrame(
        {
            "id": np.repeat(np.arange(count), 10),
            "neighbor_ids": found.ravel(),
            "neighbor_paths": pl.Series(found.ravel()).cast(pl.String),
            "neighbor_labels": names.gather(labels[found].ravel()),
            "neighbor_scores": rng.random(10 * count),
            "neighbor_hits": (labels[found] == labels[:, None]).ravel(),
        }
    )
    table = answers.group_by("id", maintain_order=True).all().with_columns(pl.col("id").cast(pl.String).alias("path"))
    columns = {"label": names.gather(labels), "positives": np.full(count, 99)} | dict.fromkeys(
        metric_names(), labels / species
    )
    table = table.with_columns([pl.Series(name, values) for name, values in columns.items()])
    result = EvalResult(dict.fromkeys(metric_names(), 0.5), {}, table, {"gallery": count, "similarity": "cosine"})
    start = time.perf_counter()
    assert by_species(result).height == species
    assert confused_pairs(result).height == 8
    assert hubs(result).skewness == pytest.approx(10**-0.5, abs=0.05), "counts at random are Poisson"
    assert calibrate(result, result, precision=0.0005).threshold is not None
    assert time.perf_counter() - start < 20


def test_imbalance_is_told_where_the_largest_species_outweighs_the_median() -> None:
    assert describe_imbalance(result_of([1.0] * 15, "aabbccddddddddd")) == ""
    unequal = result_of([1.0] * 16, "aabbccdddddddddd")
    assert describe_imbalance(unequal) == "Species have from 2 to 10 queries, the median 2"
