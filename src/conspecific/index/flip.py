"""Embeddings averaged with those of the same images mirrored left to right. Imported without torch and SciPy."""

import numpy as np

from conspecific.index.gallery import prepared
from conspecific.types import EmbeddingSet, FloatArray, Similarity


def flip_averaged(embeddings: EmbeddingSet, flipped: EmbeddingSet, metric: Similarity) -> EmbeddingSet:
    """Return the mean embeddings of images and of the same images mirrored left to right; see `flip_mean`."""
    mean = flip_mean(embeddings.vectors, flipped.select(embeddings.ids).vectors, metric)
    return EmbeddingSet(mean, embeddings.ids, embeddings.labels)


def flip_mean(vectors: FloatArray, flipped: FloatArray, metric: Similarity) -> FloatArray:
    """Return the means [N, D] of embeddings of images and of their mirror images, in the same order; see `prepared`."""
    both = [prepared(each, metric) for each in (vectors, flipped)]
    return prepared(np.mean(both, axis=0, dtype=np.float32), metric)
