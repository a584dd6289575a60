"""Pairs of species that may be one under two names: cross-validated embeddings do not tell them apart."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.data.manifest import Manifest
from conspecific.evaluation.cross_validation import CrossValidation
from conspecific.metrics import auroc

MOST = 0.85  # upper end of the interval of a pair that is listed; real pairs of birds are above 0.93, docs/log.md
KINDS = {"first": pl.String, "second": pl.String, "auroc": pl.Float64, "at_most": pl.Float64}


def look_alikes(found: CrossValidation, manifest: Manifest) -> pl.DataFrame:
    """Return pairs of species that cannot be told apart, those that surely cannot first.

    Each of a pair is the other's nearest species: the one whose mean its images are most similar to, on average. Their
    images are scored by how much nearer they are to the mean of the one than to that of the other, under a
    discriminant that was fitted to other images, and the area under the ROC curve (AUROC) says how well that tells the
    two: 0.5 is chance.

    Columns: first, the species with more images; second; auroc; at_most, the upper end of its 95 % interval (Hanley and
    McNeil 1982), up to MOST: of species with few images nothing is certain.
    """
    rows = []
    for pair in _mutually_nearest(found):
        margins, of_first = _margins(found, *pair)
        counts = int(of_first.sum()), int((~of_first).sum())
        if 0 in counts:
            continue
        ones = np.ones((1, counts[0])), np.ones((1, counts[1]))
        area = float(auroc(margins[of_first], margins[~of_first], *ones)[0])
        bound = area + 1.96 * _standard_error(area, *counts)
        first, second = pair if counts[0] >= counts[1] else pair[::-1]
        if bound <= MOST:
            rows.append((manifest.species[first], manifest.species[second], area, bound))
    return pl.DataFrame(rows, schema=KINDS, orient="row").sort("at_most", "first")


def _mutually_nearest(found: CrossValidation) -> list[tuple[int, int]]:
    """Return the pairs of labels of which each is the nearest of the other."""
    count = int(found.labels.max()) + 1
    totals, judged = np.zeros((count, count)), np.zeros((count, count))
    for fold in found.folds:
        _, similar = found.similarities(fold)
        asked = found.labels[fold.asked]
        for label in np.unique(asked):
            totals[label, fold.species] += similar[asked == label].sum(axis=0)
            judged[label, fold.species] += (asked == label).sum()
    means = np.where(judged > 0, totals / np.maximum(judged, 1), -np.inf)
    np.fill_diagonal(means, -np.inf)
    nearest = means.argmax(axis=1)
    return [
        (label, int(other))
        for label, other in enumerate(nearest)
        if label < other and nearest[other] == label and np.isfinite(means[label, other])
    ]


def _margins(found: CrossValidation, first: int, second: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return by how much each image of two species is more similar to the first, and which are labelled so."""
    margins, of_first = [], []
    for fold in found.folds:
        labels = found.labels[fold.asked]
        inside = np.isin(labels, (first, second))
        if not inside.any() or not np.isin((first, second), fold.species).all():
            continue
        means = fold.means[np.searchsorted(fold.species, (first, second))]
        similar = fold.project(found.embeddings.vectors[fold.asked[inside]]) @ means.T
        margins.append(similar[:, 0] - similar[:, 1])
        of_first.append(labels[inside] == first)
    return np.concatenate([np.empty(0), *margins]), np.concatenate([np.empty(0, np.bool_), *of_first])


def _standard_error(area: float, positives: int, negatives: int) -> float:
    """Return the standard error of an area under the curve, by Hanley and McNeil (1982)."""
    area = max(area, 1 - area)
    both, twice = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (positives - 1) * (both - area**2) + (negatives - 1) * (twice - area**2)
    return float(np.sqrt((area * (1 - area) + spread) / (positives * negatives)))
