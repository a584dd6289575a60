"""The Wiener filter of embeddings: what differs between species is kept, what varies within one is not."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from conspecific.errors import DataError
from conspecific.index.gallery import block_slices
from conspecific.index.whitening import GalleryAxes
from conspecific.types import FloatArray, IntArray

Floats = NDArray[np.float64]
LEAST = 1e-9  # variance of an axis, of the largest, below which it is rounding


class WienerFilter(GalleryAxes):
    """The posterior mean of the species component of an embedding, along the principal axes of a gallery.

    An embedding is taken for the sum of a species component and of noise within the species, both normal (the
    two-covariance model, Brümmer and de Villiers 2010; PLDA, Ioffe 2006). Along an axis with variance v in the gallery
    and w within species, the component is (v - w) / v of what is found there, and nothing where w is larger. The
    gallery needs no labels, and its species may be others than those of w (Garcia-Romero et al. 2014).
    """

    __slots__ = ()

    @classmethod
    def fit(cls, gallery: FloatArray, within: FloatArray) -> Self:
        """Return the filter by a gallery [N, D], and the covariance [D, D] of embeddings within species.

        It has as many dimensions as axes along which the gallery varies more than one species. Raises DataError where
        there are none, for a gallery of one image, and for a covariance of other dimensions.
        """
        if len(gallery) < 2:
            raise DataError("refine.wiener needs a gallery of 2 images or more; found 1: leave it out")
        if within.shape != (gallery.shape[1], gallery.shape[1]):
            raise DataError(
                f"refine.wiener needs the covariance within species of these embeddings of {gallery.shape[1]} "
                f"dimensions; found one of {len(within)}: leave it out"
            )
        centre = gallery.mean(axis=0, dtype=np.float64)
        variances, axes = _principal_axes(gallery, centre)
        noise = np.einsum("dm,dm->m", axes, within.astype(np.float64) @ axes)
        kept = variances > noise
        if not kept.any():
            raise DataError("the gallery varies along no axis more than images of one species: leave out refine.wiener")
        return cls(centre, axes[:, kept] * (1 - noise[kept] / variances[kept]))


def within_covariance(vectors: FloatArray, labels: IntArray) -> FloatArray | None:
    """Return the covariance [D, D] float32 of embeddings [N, D] around the means of their species, labels [N].

    None where no species has two images.
    """
    species, rows, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(species) == len(labels):
        return None
    means = np.zeros((len(species), vectors.shape[1]))
    np.add.at(means, rows, vectors)
    means /= counts[:, None]
    found: FloatArray = (_scatter(vectors, means, rows) / (len(labels) - len(species))).astype(np.float32)
    return found


def _principal_axes(gallery: FloatArray, centre: Floats) -> tuple[Floats, Floats]:
    """Return variances [M] and axes [D, M] of a gallery [N, D], the largest last; M is at most N - 1."""
    count, dimensions = gallery.shape
    if count <= dimensions:  # the axes are in the span of the images
        apart = gallery - centre
        squares, mixed = np.linalg.eigh(apart @ apart.T)
    else:
        squares, mixed = np.linalg.eigh(_scatter(gallery, centre))
    kept = squares > LEAST * squares[-1]
    squares, axes = squares[kept], mixed[:, kept]
    if count <= dimensions:
        axes = apart.T @ axes / np.sqrt(squares)
    return squares / (count - 1), axes


def _scatter(vectors: FloatArray, centres: Floats, rows: IntArray | None = None) -> Floats:
    """Return the sum [D, D] of products of vectors [N, D] less their centre: one [D], or one of some by rows [N]."""
    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    for part in block_slices(len(vectors), 8 * vectors.shape[1]):
        apart = vectors[part] - (centres if rows is None else centres[rows[part]])
        total += apart.T @ apart
    return total
