"""PCA whitening of embeddings."""

import numpy as np

from conspecific.errors import DataError
from conspecific.types import FloatArray


def pca_whitened(vectors: FloatArray, gallery: FloatArray, dimensions: int) -> FloatArray:
    """Return vectors [N, D] along the principal axes of a gallery, each scaled to variance 1 there, [N, dimensions].

    dimensions: fewer than the images of the gallery. Jégou and Chum 2012, "Negative evidences and co-occurences in
    image retrieval: the benefit of PCA and whitening".
    """
    centre = gallery.mean(axis=0, dtype=np.float64)
    covariance = np.cov(gallery.astype(np.float64), rowvar=False)
    variances, axes = np.linalg.eigh(covariance)
    largest = np.argsort(-variances)[:dimensions]
    scale = np.sqrt(np.maximum(variances[largest], variances.max() * 1e-6))
    whitened: FloatArray = ((vectors - centre) @ (axes[:, largest] / scale)).astype(np.float32)
    return whitened


def whiten(vectors: FloatArray, gallery: FloatArray) -> FloatArray:
    """Return vectors [N, D] whitened in as many dimensions as the gallery has axes: D, or its images less 1.

    Raises DataError for a gallery of one image, which has none.
    """
    if len(gallery) < 2:
        raise DataError("whitening needs a gallery of 2 images or more; found 1: leave out refine.whitening")
    return pca_whitened(vectors, gallery, min(vectors.shape[1], len(gallery) - 1))
