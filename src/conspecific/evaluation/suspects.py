"""Suspect labels: images that look more like another species than like the one they are labelled as."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.data.manifest import Manifest
from conspecific.evaluation.cross_validation import CrossValidation, Fold
from conspecific.types import EmbeddingSet, FloatArray

COLUMNS = ("path", "label", "suggested", "evidence", "like_label", "like_suggested", "nearest", "nearest_suggested")


def suspect_labels(embeddings: EmbeddingSet, manifest: Manifest, seed: int = 0) -> pl.DataFrame:
    """Return the images that look more like another species than like their own; see `suspects_of`."""
    return suspects_of(CrossValidation.of(embeddings, manifest, seed), manifest)


def suspects_of(found: CrossValidation, manifest: Manifest) -> pl.DataFrame:
    """Return the images that look more like another species than like their own, the most suspect first.

    The images of a fold are compared by cosine with the mean of each species among the others, under a discriminant
    fitted to the others: no label vouches for itself. Images of a species that has none outside the fold are not
    judged, nor are those without a label.

    Columns: path; label; suggested, the species whose mean is nearest; like_label, like_suggested: the cosine
    similarity to the means of both; evidence, their difference, above 0; nearest, nearest_suggested: the paths of the
    nearest images of the two species outside the fold.
    """
    paths, labels = manifest.table["path"].gather(found.embeddings.ids).to_list(), found.labels
    rows = [
        (paths[row], manifest.species[labels[row]], manifest.species[other], *values, paths[own], paths[like])
        for fold in found.folds
        for row, other, values, own, like in _suspects(found, fold)
    ]
    kinds = [pl.String] * 3 + [pl.Float64] * 3 + [pl.String] * 2
    table = pl.DataFrame(rows, schema=dict(zip(COLUMNS, kinds, strict=True)), orient="row")
    return table.sort("evidence", "path", descending=[True, False])


def _suspects(found: CrossValidation, fold: Fold) -> Iterator[tuple[int, int, tuple[float, float, float], int, int]]:
    """Yield suspect images of a fold: row, suggested label, evidence and both similarities, nearest rows."""
    queries, similar = found.similarities(fold)
    images = fold.project(found.embeddings.vectors[fold.known])
    asked, of = found.labels[fold.asked], np.searchsorted(fold.species, found.labels[fold.known])
    column = np.searchsorted(fold.species, asked)
    column[np.isin(asked, fold.species, invert=True)] = -1
    best = similar.argmax(axis=1)
    for place in np.flatnonzero((column >= 0) & (best != column)):
        own, other = int(column[place]), int(best[place])
        like_own, like_other = float(similar[place, own]), float(similar[place, other])
        nearest = [_nearest(queries[place], images, of == each) for each in (own, other)]
        values = like_other - like_own, like_own, like_other
        known = fold.known
        yield int(fold.asked[place]), int(fold.species[other]), values, int(known[nearest[0]]), int(known[nearest[1]])


def _nearest(query: FloatArray, images: FloatArray, of_species: NDArray[np.bool_]) -> int:
    rows = np.flatnonzero(of_species)
    return int(rows[(images[rows] @ query).argmax()])
