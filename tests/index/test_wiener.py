"""The Wiener filter, on embeddings whose species components and noise are known."""

from pathlib import Path

import numpy as np
import pytest

from conspecific.config.refine import RefineConfig
from conspecific.errors import ConfigError, DataError, RunError
from conspecific.index import Index, Searcher
from conspecific.index.refined import search_refined
from conspecific.index.wiener import WienerFilter, within_covariance
from conspecific.types import EmbeddingSet, FloatArray

WIENER = RefineConfig(wiener=True)
SPECIES, EACH, D = 30, 12, 48


def made_up(seed: int, species: int = SPECIES, noise: float = 1.5) -> EmbeddingSet:
    """Embeddings whose species differ in six dimensions, and whose images of one differ most in six others."""
    rng = np.random.default_rng(seed)
    between, within = np.full(D, 0.05), np.full(D, 0.15)
    between[:6], within[6:12] = 1, noise
    labels = np.repeat(np.arange(species), EACH)
    vectors = between * rng.standard_normal((species, D))[labels] + within * rng.standard_normal((len(labels), D))
    return EmbeddingSet((vectors + 3).astype(np.float32), np.arange(len(labels)), labels)


def precision(gallery: EmbeddingSet, config: RefineConfig, within: FloatArray | None = None) -> float:
    """Share of right answers among as many as each query has positives; each is searched among the others."""
    found = search_refined(gallery, gallery, "cosine", config, EACH - 1, within=within)
    return float((gallery.labels[found.ids] == gallery.labels[:, None]).mean())


def within_of(images: EmbeddingSet) -> FloatArray:
    found = within_covariance(images.vectors, images.labels)
    assert found is not None
    return found


def test_it_finds_species_that_noise_hides_by_the_noise_of_others() -> None:
    within = within_of(made_up(0))
    gallery = made_up(1)
    plain, whitened = precision(gallery, RefineConfig()), precision(gallery, RefineConfig(whitening=True))
    filtered = precision(gallery, WIENER, within)
    assert plain < 0.3 and whitened < 0.3 and filtered > 0.6
    quiet = made_up(2, noise=0.15)
    plain, filtered = precision(quiet, RefineConfig()), precision(quiet, WIENER, within_of(made_up(3, noise=0.15)))
    assert plain > 0.85 and filtered > plain - 0.01, "where noise hides nothing, nothing is lost"


@pytest.mark.parametrize("images", [40, 9])
def test_it_is_the_posterior_mean_of_the_species_component(images: int) -> None:
    """Against B T^-1 (x - mean) as matrices, where W has the axes of T; 9 images span 8 of 16 dimensions."""
    rng = np.random.default_rng(0)
    gallery = (rng.standard_normal((images, 16)) * np.linspace(0.5, 3, 16) + 1).astype(np.float32)
    total = np.cov(gallery.astype(np.float64), rowvar=False)
    variances, axes = np.linalg.eigh(total)
    noise = variances * np.linspace(1.37, 0.2, 16)  # larger than the whole along some axes
    between = (axes * np.maximum(variances - noise, 0)) @ axes.T
    literal = (gallery - gallery.mean(axis=0)) @ np.linalg.pinv(total, rcond=1e-6, hermitian=True) @ between
    fitted = WienerFilter.fit(gallery, ((axes * noise) @ axes.T).astype(np.float32))
    found = fitted(gallery)
    assert found.dtype == np.float32 and found.shape == (images, int((variances > noise + 1e-6).sum()))
    np.testing.assert_allclose(found @ found.T, literal @ literal.T, atol=1e-3 * np.abs(literal @ literal.T).max())


def test_covariance_within_species_is_around_their_means() -> None:
    images = made_up(0, species=5)
    vectors = np.concatenate([images.vectors, images.vectors[:1] + 50])  # one more species, of a single image
    labels = np.append(images.labels, 9)
    apart = np.concatenate([vectors[labels == each] - vectors[labels == each].mean(axis=0) for each in (*range(5), 9)])
    found = within_covariance(vectors, labels)
    assert found is not None and found.dtype == np.float32
    np.testing.assert_allclose(found, apart.T @ apart / (5 * EACH - 5), atol=1e-4)
    assert within_covariance(vectors[::EACH], labels[::EACH]) is None


def test_what_cannot_be_filtered_is_told() -> None:
    images = made_up(0, species=4)
    with pytest.raises(ConfigError, match=r"refine\.wiener needs the covariance of embeddings within species"):
        search_refined(images, images, "cosine", WIENER, 3)
    with pytest.raises(DataError, match=r"of these embeddings of 48 dimensions; found one of 8"):
        search_refined(images, images, "cosine", WIENER, 3, within=np.eye(8, dtype=np.float32))
    with pytest.raises(DataError, match="a gallery of 2 images or more; found 1"):
        WienerFilter.fit(images.vectors[:1], within_of(images))
    with pytest.raises(DataError, match="varies along no axis more than images of one species"):
        WienerFilter.fit(images.vectors, 1000 * np.eye(D, dtype=np.float32))
    with pytest.raises(ConfigError, match=r"refine\.whitening and refine\.wiener .* choose one"):
        RefineConfig(whitening=True, wiener=True)
    assert RefineConfig("k_reciprocal", flip=True, wiener=True).name == "flip_wiener_k_reciprocal"


def test_an_index_keeps_the_covariance_and_filters_before_it_refines(tmp_path: Path) -> None:
    images, within = made_up(1, species=8), within_of(made_up(0))
    paths = [f"{row}.jpg" for row in range(len(images))]
    place, cache = tmp_path / "index", tmp_path / "cache"
    Index.build(images.vectors, paths, within=within).save(place, cache=cache)
    index = Index.open(place, cache=cache)
    assert index.within is not None and index.within.tobytes() == within.tobytes()
    fitted = WienerFilter.fit(images.vectors, within)
    filtered = EmbeddingSet(fitted(images.vectors), images.ids, images.labels)
    wanted = Searcher(filtered, "cosine").search(filtered, 5)
    assert index.search(images, 5, WIENER).ids.tolist() == wanted.ids.tolist()
    assert wanted.ids.tolist() != index.search(images, 5).ids.tolist()
    refined = RefineConfig("query_expansion", wiener=True, expanded_by=3)
    expanded = search_refined(filtered, filtered, "cosine", RefineConfig("query_expansion", expanded_by=3), 5)
    assert index.search(images, 5, refined).ids.tolist() == expanded.ids.tolist()
    index.remove([0])
    index.save(place, cache=cache)
    assert Index.open(place, cache=cache).within is not None, "a changed index keeps it"
    content = (place / "within.npy").read_bytes()
    (place / "within.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match=r"within\.npy was changed: its checksum differs"):
        Index.open(place, cache=cache)
    for wrong in (within[:5], np.full_like(within, np.nan)):
        Index.build(images.vectors, paths, within=wrong).save(place, cache=cache)
        with pytest.raises(RunError, match=r"within\.npy holds"):
            Index.open(place, cache=cache)
    Index.build(images.vectors, paths).save(place, cache=cache)
    with pytest.raises(ConfigError, match="this gallery was made without"):
        Index.open(place, cache=cache).search(images, 5, WIENER)
