"""Groups of images by their embeddings."""

import numpy as np
import pytest

from conspecific.errors import DataError
from conspecific.evaluation.clusters import agreement, cluster_images, nearest_species
from conspecific.types import EmbeddingSet, FloatArray


def clouds(sizes: list[int], spread: float = 0.1, seed: int = 0) -> tuple[FloatArray, np.ndarray]:
    """Unit vectors around a random direction for each cloud, and the cloud of each."""
    rng, of = np.random.default_rng(seed), np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.random.default_rng(9).normal(size=(len(sizes), 96))[of] + spread * rng.normal(size=(len(of), 96))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of


def test_clouds_are_found_the_largest_first_and_strays_are_in_none() -> None:
    vectors, of = clouds([12, 30, 20])
    strays = np.random.default_rng(1).normal(size=(10, 96)).astype(np.float32)
    found = cluster_images(np.vstack([vectors, strays / np.linalg.norm(strays, axis=1, keepdims=True)]), 5)
    assert found[:62].tolist() == np.array([2, 0, 1])[of].tolist()
    assert (found[62:] == -1).all()


def test_each_cluster_has_the_species_whose_mean_is_nearest() -> None:
    vectors, of = clouds([12, 30, 20])
    known, labels = clouds([6, 5, 7], seed=3)
    gallery = EmbeddingSet(known, np.arange(18), np.array([4, 0, 2])[labels])
    names = ("auk", "booby", "crow", "dipper", "egret")
    found = nearest_species(vectors, np.where(of == 1, -1, of // 2), gallery, names)
    assert [each.species for each in found] == ["egret", "crow"] and all(each.score > 0.9 for each in found)


def test_agreement_counts_clustered_images_with_a_label() -> None:
    same = agreement(np.array([0, 0, 1, 1, -1, 1]), np.array([5, 5, 2, 2, 2, -1]))
    assert same is not None and (same.rand, same.v_measure, same.images) == (1.0, 1.0, 4)
    half = agreement(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1]))
    assert half is not None and half.rand == 0.0
    assert agreement(np.array([0, 0]), np.array([3, 3])) is None


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="4 images are too few for clusters of min_images=5"):
        cluster_images(clouds([4])[0], 5)
    with pytest.raises(DataError, match=r"min_images must be 2 or more; found 1"):
        cluster_images(clouds([4])[0], 1)
