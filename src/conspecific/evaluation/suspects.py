"""Suspect labels: images that look more like another species than like the one they are labelled as."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.models.whitening import fit_whitening, species_means
from conspecific.types import EmbeddingSet, FloatArray, IntArray

FOLDS = 5
RIDGE = 3.0  # of the whitening, in units of the mean variance within species; see docs/log.md
COLUMNS = ("path", "label", "suggested", "evidence", "like_label", "like_suggested", "nearest", "nearest_suggested")


def suspect_labels(embeddings: EmbeddingSet, manifest: Manifest, seed: int = 0) -> pl.DataFrame:
    """Return the images that look more like another species than like their own, the most suspect first.

    embeddings: of all images, by a network that was not trained on these labels, which it may have memorised. Those of
        images without a label are left out.

    The images are divided into five folds, each species and each group as evenly as can be. For each fold, a linear
    discriminant (Fisher 1936) is fitted to the others, by their labels, and the images of the fold are compared by
    cosine with the mean of each species there: no label vouches for itself. Images of a species that has none outside
    the fold are not judged.

    Columns: path; label; suggested, the species whose mean is nearest; like_label, like_suggested: the cosine
    similarity to the means of both; evidence, their difference, above 0; nearest, nearest_suggested: the paths of the
    nearest images of the two species outside the fold.
    Raises DataError with fewer than two species that have two images each.
    """
    embeddings = embeddings.select(embeddings.ids[manifest.labels[embeddings.ids] >= 0])
    labels, found = manifest.labels[embeddings.ids], []
    if (np.bincount(labels) > 1).sum() < 2:
        raise DataError("suspect labels need two species or more with two images each")
    fold = _folds(labels, manifest.groups[embeddings.ids], seed)
    for out in (fold == number for number in range(FOLDS)):
        if out.any() and np.unique(labels[~out]).size > 1:
            found += list(_suspects(embeddings.vectors, labels, np.flatnonzero(~out), np.flatnonzero(out)))
    paths = manifest.table["path"].gather(embeddings.ids).to_list()
    rows = [
        (paths[row], manifest.species[labels[row]], manifest.species[other], *values, paths[own], paths[like])
        for row, other, values, own, like in found
    ]
    kinds = [pl.String] * 3 + [pl.Float64] * 3 + [pl.String] * 2
    table = pl.DataFrame(rows, schema=dict(zip(COLUMNS, kinds, strict=True)), orient="row")
    return table.sort("evidence", "path", descending=[True, False])


def _folds(labels: IntArray, groups: IntArray, seed: int) -> IntArray:
    """Return the fold of each image: the groups of each species go to the folds in turn, in a seeded order."""
    rng = np.random.default_rng(seed)
    fold_of: dict[int, int] = {}
    for label in rng.permutation(np.unique(labels)):
        own = [group for group in rng.permutation(np.unique(groups[labels == label])).tolist() if group not in fold_of]
        fold_of |= {group: place % FOLDS for place, group in enumerate(own)}
    return np.array([fold_of[group] for group in groups.tolist()])


def _suspects(
    vectors: FloatArray, labels: IntArray, known: IntArray, asked: IntArray
) -> Iterator[tuple[int, int, tuple[float, float, float], int, int]]:
    """Yield, of the rows `asked`, suspect ones: row, suggested label, evidence and both similarities, nearest rows."""
    species, dense = np.unique(labels[known], return_inverse=True)
    project = _discriminant(vectors[known], dense)
    images, queries = project(vectors[known]), project(vectors[asked])
    means = F.normalize(species_means(torch.from_numpy(images), torch.from_numpy(dense))).numpy()
    similar = queries @ means.T
    column = np.searchsorted(species, labels[asked])
    column[np.isin(labels[asked], species, invert=True)] = -1
    best = similar.argmax(axis=1)
    for place in np.flatnonzero((column >= 0) & (best != column)):
        own, other = int(column[place]), int(best[place])
        like_own, like_other = float(similar[place, own]), float(similar[place, other])
        nearest = [_nearest(queries[place], images, dense == each) for each in (own, other)]
        values = like_other - like_own, like_own, like_other
        yield int(asked[place]), int(species[other]), values, int(known[nearest[0]]), int(known[nearest[1]])


def _nearest(query: FloatArray, images: FloatArray, of_species: NDArray[np.bool_]) -> int:
    rows = np.flatnonzero(of_species)
    return int(rows[(images[rows] @ query).argmax()])


class _Discriminant:
    """Whitens within species and keeps the directions in which species differ; unit vectors [N, M] come out."""

    def __init__(self, centre: Tensor, matrix: Tensor) -> None:
        self._centre, self._matrix = centre.float(), matrix.float()

    def __call__(self, vectors: FloatArray) -> FloatArray:
        found: FloatArray = F.normalize((torch.from_numpy(vectors) - self._centre) @ self._matrix).numpy()
        return found


def _discriminant(vectors: FloatArray, labels: IntArray) -> _Discriminant:
    fitted = fit_whitening(torch.from_numpy(vectors), torch.from_numpy(labels), [1.0], RIDGE)
    if not fitted:
        raise DataError("suspect labels need species of which two images differ: all images of each are equal")
    return _Discriminant(fitted[0].centre, fitted[0].matrix())
