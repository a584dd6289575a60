"""Refined searches, against brute force: one query at a time, from a gallery that never held it."""

import numpy as np
import pytest

from conspecific.config.refine import RefineConfig
from conspecific.errors import ConfigError, DataError
from conspecific.index import Index, Searcher
from conspecific.index.refined import make_refined, search_refined
from conspecific.index.whitening import pca_whitened
from conspecific.types import EmbeddingSet, Similarity

IMAGES, SPECIES = 40, 5
METHODS = ("query_expansion", "database_augmentation", "k_reciprocal")
SMALL = {"expanded_by": 6, "augmented_by": 5, "k1": 6, "k2": 3}


@pytest.fixture
def images() -> EmbeddingSet:
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % SPECIES
    vectors = rng.standard_normal((SPECIES, 8))[labels] + rng.standard_normal((IMAGES, 8))
    return EmbeddingSet(vectors.astype(np.float32), 3 * np.arange(IMAGES) + 1, labels)


def compared(vectors: np.ndarray, metric: Similarity) -> np.ndarray:
    """Normalized where cosine compares them: squared distances then order as the cosine does."""
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) if metric == "cosine" else vectors


def squared(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.square(some[:, None] - others[None]).sum(axis=2)


def expansion(query: np.ndarray, gallery: np.ndarray, metric: Similarity, config: RefineConfig) -> np.ndarray:
    """Distances [N] of a query averaged with its nearest."""
    near = np.argsort(squared(query[None], gallery)[0])[: config.expanded_by]
    total, weights = query.copy(), 1.0
    for row in near:
        cosine = query @ gallery[row] / np.linalg.norm(query) / np.linalg.norm(gallery[row])
        weight = max(cosine, 0) ** config.alpha
        total, weights = total + weight * gallery[row], weights + weight
    return squared(compared(total / weights, metric)[None], gallery)[0]


def augmentation(query: np.ndarray, gallery: np.ndarray, metric: Similarity, config: RefineConfig) -> np.ndarray:
    """Distances [N] of images that are averaged with their nearest in the gallery."""
    distances = squared(gallery, gallery)
    means = []
    for row, image in enumerate(gallery):
        near = [other for other in np.argsort(distances[row]) if other != row][: config.augmented_by]
        weights = [1 - rank / config.augmented_by for rank in range(1, len(near) + 1)]
        mean = (image + sum(weight * gallery[other] for weight, other in zip(weights, near, strict=True))) / (
            1 + sum(weights)
        )
        means.append(compared(mean, metric))
    return squared(query[None], np.stack(means))[0]


def reciprocal(query: np.ndarray, gallery: np.ndarray, metric: Similarity, config: RefineConfig) -> np.ndarray:
    """The algorithm as it is published, with sets, over the query and the gallery; distances [N]."""
    everything = np.vstack([query, gallery])
    count = len(everything)
    distances = squared(everything, everything)
    distances /= distances.max(axis=1, keepdims=True)
    ranked = [[row, *(other for other in np.argsort(distances[row]) if other != row)] for row in range(count)]

    def mutual(row: int, k: int) -> set[int]:
        return {other for other in ranked[row][: k + 1] if row in ranked[other][: k + 1]}

    encoded = np.zeros((count, count))
    for row in range(count):
        found = mutual(row, config.k1)
        expanded = set(found)
        for other in found:
            half = mutual(other, round(config.k1 / 2))
            if len(half & found) > 2 / 3 * len(half):
                expanded |= half
        columns = sorted(expanded)
        weights = np.exp(-distances[row, columns])
        encoded[row, columns] = weights / weights.sum()
    encoded = np.stack([encoded[ranked[row][: config.k2]].mean(axis=0) for row in range(count)])
    jaccard = 1 - np.minimum(encoded[0], encoded).sum(axis=1) / np.maximum(encoded[0], encoded).sum(axis=1)
    return ((1 - config.distance_weight) * jaccard + config.distance_weight * distances[0])[1:]


BRUTE = dict(zip(METHODS, (expansion, augmentation, reciprocal), strict=True))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_a_gallery_without_the_query(
    method: str, metric: Similarity, images: EmbeddingSet
) -> None:
    config = RefineConfig(method, **SMALL)  # type: ignore[arg-type]
    outside = EmbeddingSet(images.vectors[:4] + 0.1, -1 - np.arange(4), images.labels[:4])
    searcher, vectors = make_refined(images, metric, config), compared(images.vectors, metric)
    for queries in (images, outside):
        found = searcher.search(queries, 12)
        firsts = searcher.rank_of_first_positive(queries)
        for query, own in enumerate(queries.ids):
            others = images.ids != own
            vector = compared(queries.vectors[query], metric)
            distances = BRUTE[method](vector, vectors[others], metric, config)
            order = np.argsort(distances)
            assert found.ids[query].tolist() == images.ids[others][order][:12].tolist()
            scores = found.scores[query] if method == "k_reciprocal" or metric == "l2" else 2 * found.scores[query] - 2
            np.testing.assert_allclose(scores, -distances[order][:12], atol=2e-4)
            positive = images.labels[others][order] == queries.labels[query]
            assert firsts[query] == positive.argmax() + 1


@pytest.mark.parametrize("method", METHODS)
def test_fewer_images_than_neighbours(method: str, images: EmbeddingSet) -> None:
    few = images.select(images.ids[:3])
    found = make_refined(few, "cosine", RefineConfig(method)).search(images.select(images.ids[2:4]), 4)
    assert sorted(found.ids[0].tolist()) == [-1, -1, 1, 4]
    assert sorted(found.ids[1].tolist()) == [-1, 1, 4, 7]
    one = make_refined(images.select(images.ids[:1]), "cosine", RefineConfig(method))
    assert one.search(images.select(images.ids[:2]), 1).ids.tolist() == [[-1], [1]]


def test_an_index_whitens_before_it_refines(images: EmbeddingSet) -> None:
    index = Index.build(images.vectors, [f"{row}.jpg" for row in range(IMAGES)], kind="fp16")
    queries = EmbeddingSet(images.vectors, np.arange(IMAGES), images.labels)
    config = RefineConfig("query_expansion", whitening=True, expanded_by=6)
    found = index.search(queries, 5, config)
    vectors = compared(pca_whitened(images.vectors, images.vectors, 8), "cosine")
    for query in range(IMAGES):
        others = np.arange(IMAGES) != query
        order = np.argsort(expansion(vectors[query], vectors[others], "cosine", config))[:5]
        assert found.ids[query].tolist() == np.arange(IMAGES)[others][order].tolist()
    assert index.search(queries, 5, RefineConfig()).ids.tolist() == index.search(queries, 5).ids.tolist()
    with pytest.raises(ConfigError, match=r"refine\.flip needs a gallery that was averaged with mirrored images"):
        index.search(queries, 5, RefineConfig(flip=True))
    with pytest.raises(DataError, match="whitening needs a gallery of 2 images or more"):
        search_refined(images.select(images.ids[:1]), images, "cosine", RefineConfig(whitening=True), 1)


def test_none_is_the_plain_search_and_other_names_are_refused(images: EmbeddingSet) -> None:
    assert isinstance(make_refined(images, "cosine", RefineConfig()), Searcher)
    with pytest.raises(ConfigError, match=r"refine\.method=k_reciprocol is unknown"):
        make_refined(images, "cosine", RefineConfig("k_reciprocol"))
    with pytest.raises(ConfigError, match=r"refine\.k1 must be 1 or more; found 0"):
        RefineConfig(k1=0)
