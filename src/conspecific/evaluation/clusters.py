"""Group images that nobody has labelled by their embeddings."""

from typing import NamedTuple

import numpy as np

from conspecific.errors import DataError
from conspecific.types import EmbeddingSet, FloatArray, IntArray

LEAST = 0.4  # probability of a member: a cluster lasts until it merges, and takes in what is far from everything
DIMENSIONS = 64  # of the principal components that are clustered: distances in many more say little


class NearestSpecies(NamedTuple):
    """The known species that a cluster is nearest to, and the cosine similarity of the two means."""

    species: str
    score: float


class Agreement(NamedTuple):
    """How clusters agree with labels, over clustered images that have one.

    rand: adjusted Rand index (Hubert and Arabie 1985), 1 for the same division, 0 by chance. v_measure: harmonic mean
    of homogeneity and completeness (Rosenberg and Hirschberg 2007), in [0, 1].
    """

    rand: float
    v_measure: float
    images: int


def cluster_images(vectors: FloatArray, fewest: int) -> IntArray:
    """Return the cluster of each image, from 0, the largest first; -1 for images in none. [N]

    HDBSCAN (Campello, Moulavi and Sander 2013) of principal components of the embeddings [N, D], each of length 1.
    fewest: images of the smallest cluster, 2 or more. Raises DataError for fewer images than that.
    """
    if fewest < 2:
        raise DataError(f"min_images must be 2 or more; found {fewest}")
    if len(vectors) < max(fewest, 3):
        raise DataError(f"{len(vectors)} images are too few for clusters of min_images={fewest}")
    from sklearn.cluster import HDBSCAN  # takes a second
    from sklearn.decomposition import PCA

    dimensions = min(DIMENSIONS, *vectors.shape)
    points = PCA(dimensions, svd_solver="randomized", random_state=0).fit_transform(vectors)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    fitted = HDBSCAN(min_cluster_size=fewest, min_samples=1, copy=True).fit(points)
    found = np.where(fitted.probabilities_ < LEAST, -1, fitted.labels_)
    sizes = np.bincount(found[found >= 0])
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    return np.where(found < 0, -1, rank[found]) if len(sizes) else found.astype(np.int64)


def nearest_species(
    vectors: FloatArray, clusters: IntArray, known: EmbeddingSet, species: tuple[str, ...]
) -> list[NearestSpecies]:
    """Return, for each cluster, which of the known species its mean embedding is nearest to."""
    own = _means(vectors, clusters)
    present = np.unique(known.labels[known.labels >= 0])
    place = np.where(known.labels < 0, -1, np.searchsorted(present, known.labels))
    similar = own @ _means(known.vectors, place).T
    best = similar.argmax(axis=1)
    return [
        NearestSpecies(species[present[found]], float(row[found])) for row, found in zip(similar, best, strict=True)
    ]


def agreement(clusters: IntArray, labels: IntArray) -> Agreement | None:
    """Return how clusters agree with the labels of their images; None where fewer than two species are known."""
    from sklearn.metrics import adjusted_rand_score, v_measure_score

    used = (clusters >= 0) & (labels >= 0)
    if np.unique(labels[used]).size < 2:
        return None
    of = labels[used], clusters[used]
    return Agreement(float(adjusted_rand_score(*of)), float(v_measure_score(*of)), int(used.sum()))


def _means(vectors: FloatArray, groups: IntArray) -> FloatArray:
    """Return the mean direction of the unit vectors of each group from 0, [G, D]; rows of group -1 do not count."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    sums = np.zeros((int(groups.max(initial=-1)) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, groups[groups >= 0], units[groups >= 0])
    means: FloatArray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return means
