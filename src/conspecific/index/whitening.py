"""Embeddings along the axes of a gallery, and PCA whitening."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conspecific.errors import DataError
from conspecific.types import FloatArray


@dataclass(frozen=True, slots=True)
class GalleryAxes:
    """Embeddings along axes of a gallery, in place of those that the network gives.

    centre: [D] float64, mean of the gallery. projection: [D, dimensions] float64.
    """

    centre: NDArray[np.float64]
    projection: NDArray[np.float64]

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Return vectors [N, D] along the axes, [N, dimensions]."""
        along: FloatArray = ((vectors - self.centre) @ self.projection).astype(np.float32)
        return along


class Whitening(GalleryAxes):
    """PCA whitening: along the principal axes of a gallery, each scaled to variance 1 there.

    Jégou and Chum 2012, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and whitening".
    """

    __slots__ = ()

    @classmethod
    def fit(cls, gallery: FloatArray, dimensions: int | None = None) -> Self:
        """Return the whitening by a gallery [N, D], in fewer dimensions than it has images; None: in all it has axes.

        Raises DataError for a gallery of one image, which has none.
        """
        if len(gallery) < 2:
            raise DataError("whitening needs a gallery of 2 images or more; found 1: leave out refine.whitening")
        kept = min(gallery.shape[1], len(gallery) - 1) if dimensions is None else dimensions
        centre = gallery.mean(axis=0, dtype=np.float64)
        covariance = np.cov(gallery.astype(np.float64), rowvar=False)
        variances, axes = np.linalg.eigh(covariance)
        largest = np.argsort(-variances)[:kept]
        scale = np.sqrt(np.maximum(variances[largest], variances.max() * 1e-6))
        return cls(centre, axes[:, largest] / scale)


def pca_whitened(vectors: FloatArray, gallery: FloatArray, dimensions: int) -> FloatArray:
    """Return vectors [N, D] whitened by a gallery, [N, dimensions]; see `Whitening`."""
    return Whitening.fit(gallery, dimensions)(vectors)
