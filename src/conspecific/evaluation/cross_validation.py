"""Species compared in folds: no image is judged by a discriminant that was fitted to it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.models.whitening import fit_whitening, species_means
from conspecific.types import EmbeddingSet, FloatArray, IntArray

FOLDS = 5
RIDGE = 3.0  # of the whitening, in units of the mean variance within species; see docs/log.md


@dataclass(frozen=True)
class Fold:
    """Some of the images, and what the others say of them.

    known, asked: rows of the others and of these. species: labels that the others have, [K]. project: from embeddings
    to unit vectors [N, M], by a linear discriminant (Fisher 1936) fitted to the others. means: [K, M], of the others.
    """

    known: IntArray
    asked: IntArray
    species: IntArray
    project: Callable[[FloatArray], FloatArray]
    means: FloatArray


@dataclass(frozen=True)
class CrossValidation:
    """The images with a label, in folds: those of a species and those of a group are divided as evenly as can be.

    embeddings: of these images alone; rows are theirs. labels: [N].
    """

    embeddings: EmbeddingSet
    labels: IntArray
    folds: tuple[Fold, ...]

    @classmethod
    def of(cls, embeddings: EmbeddingSet, manifest: Manifest, seed: int = 0) -> "CrossValidation":
        """Divide the images and fit a discriminant for each fold.

        embeddings: of all images, by a network that was not trained on these labels, which it may have memorised.
        Raises DataError with fewer than two species that have two images each.
        """
        embeddings = embeddings.select(embeddings.ids[manifest.labels[embeddings.ids] >= 0])
        labels = manifest.labels[embeddings.ids]
        if (np.bincount(labels) > 1).sum() < 2:
            raise DataError("suspect labels need two species or more with two images each")
        fold = _folds(labels, manifest.groups[embeddings.ids], seed)
        folds = []
        for out in (fold == number for number in range(FOLDS)):
            if out.any() and np.unique(labels[~out]).size > 1:
                folds.append(_fold(embeddings.vectors, labels, np.flatnonzero(~out), np.flatnonzero(out)))
        return cls(embeddings, labels, tuple(folds))

    def similarities(self, fold: Fold) -> tuple[FloatArray, FloatArray]:
        """Return the asked images as projected [A, M], and their cosine to the mean of each species [A, K]."""
        queries = fold.project(self.embeddings.vectors[fold.asked])
        return queries, queries @ fold.means.T

    def margin(self, sample_id: int, label: int) -> float:
        """Return by how much more similar an image is to the mean of another species than to that of its own.

        -inf where a fold does not have both.
        """
        row = int(np.flatnonzero(self.embeddings.ids == sample_id)[0])
        for fold in self.folds:
            pair = np.array([label, self.labels[row]])
            if row in fold.asked and np.isin(pair, fold.species).all():
                means = fold.means[np.searchsorted(fold.species, pair)]
                other, own = (fold.project(self.embeddings.vectors[[row]]) @ means.T)[0]
                return float(other - own)
        return -np.inf


def _folds(labels: IntArray, groups: IntArray, seed: int) -> IntArray:
    """Return the fold of each image: the groups of each species go to the folds in turn, in a seeded order."""
    rng = np.random.default_rng(seed)
    fold_of: dict[int, int] = {}
    for label in rng.permutation(np.unique(labels)):
        own = [group for group in rng.permutation(np.unique(groups[labels == label])).tolist() if group not in fold_of]
        fold_of |= {group: place % FOLDS for place, group in enumerate(own)}
    return np.array([fold_of[group] for group in groups.tolist()])


def _fold(vectors: FloatArray, labels: IntArray, known: IntArray, asked: IntArray) -> Fold:
    species, dense = np.unique(labels[known], return_inverse=True)
    fitted = fit_whitening(torch.from_numpy(vectors[known]), torch.from_numpy(dense), [1.0], RIDGE)
    if not fitted:
        raise DataError("suspect labels need species of which two images differ: all images of each are equal")
    centre, matrix = fitted[0].centre.float(), fitted[0].matrix().float()

    def project(given: FloatArray) -> FloatArray:
        found: FloatArray = F.normalize((torch.from_numpy(given) - centre) @ matrix).numpy()
        return found

    images = torch.from_numpy(project(vectors[known]))
    means: FloatArray = F.normalize(species_means(images, torch.from_numpy(dense))).numpy()
    return Fold(known, asked, species, project, means)
