"""Diagnose a result: scores by species, confused species, hubs, and a threshold on the score.

Everything is computed from the per-query table, without embeddings and without a model.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from conspecific.errors import RunError
from conspecific.metrics import k_occurrence, precision_curve, skewness, threshold_for
from conspecific.types import EvalResult

CURVE_POINTS = 200
IMBALANCED = 5  # queries of the largest species for one of the median species


@dataclass(frozen=True, slots=True)
class Hubs:
    """How often gallery images are among the top ten answers of the queries.

    skewness: of the counts of all gallery images, including counts of 0; see `metrics.skewness`.
    never: share of the gallery that is in no query's top ten. expected: mean count of a gallery image.
    images: the most frequent ones: path, label (null if unknown), count, wrong (answers of another known species).
    """

    skewness: float
    never: float
    expected: float
    images: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold on the score, chosen on one result, and its effect on another.

    threshold: the lowest score at which the answers of the first result reach the wanted precision; None for no such
        score.
    precision, kept, answered: of the second result's answers at or above it: the share of hits (None without answers),
        their share of all answers, and the share of queries with at least one.
    curve: (threshold, precision, kept) of the second result, highest threshold first, at most 200 points.
    similarity: "cosine", or "l2" for scores that are minus the squared distance.
    """

    threshold: float | None
    precision: float | None
    kept: float | None
    answered: float | None
    curve: list[tuple[float, float, float]]
    similarity: str


def by_species(result: EvalResult) -> pl.DataFrame:
    """Return a row for each species among the queries, the worst first by recall@1, then map@r, then label.

    Columns: label, queries, positives (mean R), and the mean of every metric over the species' queries.
    """
    means = [pl.col(name).mean() for name in ("positives", *result.metrics)]
    table = result.per_query.group_by("label", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("queries"), *means
    )
    return table.sort("recall@1", "map@r", "label")


def describe_imbalance(result: EvalResult) -> str:
    """Return how many queries species have, where the largest has five times as many as the median; else nothing.

    Means over queries then say little of most species: means over species belong first.
    """
    counts = np.unique(result.per_query["label"].to_numpy(), return_counts=True)[1]
    fewest, median, most = int(counts.min()), int(np.median(counts)), int(counts.max())
    if most < IMBALANCED * median:
        return ""
    return f"Species have from {fewest:,} to {most:,} queries, the median {median:,}"


def confused_pairs(result: EvalResult, most: int = 8) -> pl.DataFrame:
    """Return the pairs of species that are confused most often in the top ten answers, counting both directions.

    Columns: label, other (alphabetical), wrong (answers of one species to queries of the other), share (of all answers
    to queries of the two), and the wrong answer with the highest score: query_path, query_label, answer_path,
    answer_label, score. Answers of unknown species are not wrong, but count among all answers.
    """
    answers = _answers(result)
    given = dict(answers.group_by("query_label").len().iter_rows())
    wrong = answers.filter(pl.col("answer_label") != pl.col("query_label"))  # null, if unknown, is dropped
    best_first = wrong.sort("score", "query", "answer", descending=[True, False, False])
    pair = [pl.min_horizontal("query_label", "answer_label"), pl.max_horizontal("query_label", "answer_label")]
    example = ("query_path", "query_label", "answer_path", "answer_label", "score")
    pairs = (
        best_first.with_columns(label=pair[0], other=pair[1])
        .group_by("label", "other", maintain_order=True)
        .agg(pl.len().cast(pl.Int64).alias("wrong"), pl.col(example).first())
        .sort("wrong", "label", "other", descending=[True, False, False])
        .head(most)
    )
    # a species that has no queries was given no answers
    total = [given.get(label, 0) + given.get(other, 0) for label, other in pairs.select("label", "other").iter_rows()]
    share = pairs["wrong"] / pl.Series("share", total, pl.Int64)
    return pairs.insert_column(3, share.alias("share"))


def hubs(result: EvalResult, most: int = 8) -> Hubs:
    """Count how often each gallery image is among the top ten answers of the scored queries.

    Raises RunError if the result does not record the size of its gallery, or has more images in its answers.
    """
    answers = _answers(result)
    seen = answers.group_by("answer").agg(
        pl.col("answer_path", "answer_label").first(),
        wrong=(pl.col("answer_label") != pl.col("query_label")).sum().cast(pl.Int64),
    )
    gallery = int(result.facts.get("gallery", 0))
    if gallery < max(1, seen.height):
        raise RunError(f"the result names {seen.height} images in its answers and a gallery of {gallery}: score again")
    counts = k_occurrence(answers["answer"].to_numpy()[None], seen["answer"].to_numpy())
    whole = np.append(counts, np.zeros(gallery - seen.height, np.int64))
    images = seen.select(pl.col("answer_path").alias("path"), pl.col("answer_label").alias("label"), "wrong")
    images = images.with_columns(pl.Series("count", counts)).select("path", "label", "count", "wrong")
    return Hubs(
        skewness=skewness(whole),
        never=(gallery - seen.height) / gallery,
        expected=answers.height / gallery,
        images=images.sort("count", "wrong", "path", descending=[True, True, False]).head(most),
    )


def calibrate(chosen_on: EvalResult, result: EvalResult, precision: float = 0.95) -> Calibration:
    """Choose a threshold on one result (validation) and apply it to another (test).

    Answers are the top ten of each query without those of unknown species, which are neither right nor wrong.
    precision: the share of kept answers that must be right, in (0, 1]. On the answers it was chosen on, a threshold
    looks better than it is: pass one result twice only to measure by how much.
    Raises RunError if the two results hold scores of different similarities.
    """
    similarity, other = (str(found.facts.get("similarity")) for found in (result, chosen_on))
    if similarity != other:
        raise RunError(
            f"a threshold on {other} scores, of {chosen_on.facts.get('name')}, does not fit {similarity} scores"
        )
    threshold = threshold_for(*judged(chosen_on)[1:], precision)
    queries, scores, hits = judged(result)
    above = scores >= (np.inf if threshold is None else threshold)
    return Calibration(
        threshold=threshold,
        precision=float(hits[above].mean()) if above.any() else None,
        kept=float(above.mean()) if scores.size else 0.0,
        answered=np.unique(queries[above]).size / result.per_query.height,
        curve=_curve(scores, hits),
        similarity=similarity,
    )


def _answers(result: EvalResult) -> pl.DataFrame:
    """Return a row for each answer: query, query_path, query_label, answer, answer_path, answer_label, score, hit."""
    columns = {
        "id": "query",
        "path": "query_path",
        "label": "query_label",
        "neighbor_ids": "answer",
        "neighbor_paths": "answer_path",
        "neighbor_labels": "answer_label",
        "neighbor_scores": "score",
        "neighbor_hits": "hit",
    }
    lists = [name for name in columns if name.startswith("neighbor_")]
    answers = result.per_query.select(list(columns)).explode(lists).filter(pl.col("neighbor_ids").is_not_null())
    return answers.rename(columns).with_columns(pl.col("score").cast(pl.Float64))


def judged(result: EvalResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return query, score and hit of each answer with a known species, [A] each."""
    known = _answers(result).filter(pl.col("answer_label").is_not_null())
    return known["query"].to_numpy(), known["score"].to_numpy(), known["hit"].to_numpy()


def _curve(scores: np.ndarray, hits: np.ndarray) -> list[tuple[float, float, float]]:
    """Return the precision curve as (threshold, precision, share kept), thinned to CURVE_POINTS, with both ends."""
    thresholds, precision, kept = precision_curve(scores, hits)
    points = np.linspace(0, len(kept) - 1, min(CURVE_POINTS, len(kept))).round().astype(np.int64)
    columns = (thresholds[points], precision[points], kept[points] / max(1, scores.size))
    return list(zip(*(column.tolist() for column in columns), strict=True))
