"""PCA whitening of embeddings."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conspecific.errors import DataError
from conspecific.types import FloatArray


@dataclass(frozen=True, slots=True)
class Whitening:
    """PCA whitening: along the principal axes of a gallery, each scaled to variance 1 there.

    centre: [D] float64, mean of the gallery. projection: [D, dimensions] float64.
    Jégou and Chum 2012, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and whitening".
    """

    centre: NDArray[np.float64]
    projection: NDArray[np.float64]

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

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Return vectors [N, D] whitened, [N, dimensions]."""
        whitened: FloatArray = ((vectors - self.centre) @ self.projection).astype(np.float32)
        return whitened


def pca_whitened(vectors: FloatArray, gallery: FloatArray, dimensions: int) -> FloatArray:
    """Return vectors [N, D] whitened by a gallery, [N, dimensions]; see `Whitening`."""
    return Whitening.fit(gallery, dimensions)(vectors)


def whiten(vectors: FloatArray, gallery: FloatArray) -> FloatArray:
    """Return vectors [N, D] whitened in as many dimensions as the gallery has axes; see `Whitening.fit`."""
    return Whitening.fit(gallery)(vectors)
