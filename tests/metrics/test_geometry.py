"""The shape of embeddings: closed forms against plain loops, and what counts as collapse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import conspecific.metrics.geometry as geometry
from conspecific.metrics import Geometry, alignment, describe_geometry, effective_rank, mean_similarity, uniformity


def on_the_sphere(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pairs(count: int) -> list[tuple[int, int]]:
    return [(one, other) for one in range(count) for other in range(one + 1, count)]


@given(seed=st.integers(0, 1000), count=st.integers(2, 30), dimensions=st.integers(1, 12), block=st.integers(1, 2000))
def test_agrees_with_loops_over_pairs_whatever_the_block(seed: int, count: int, dimensions: int, block: int) -> None:
    vectors = on_the_sphere(count, dimensions, seed)
    vectors[-1] *= seed % 2  # a zero vector, at times
    labels = np.random.default_rng(seed).integers(-1, 4, count)
    exact = vectors.astype(np.float64)
    distance = {pair: ((exact[pair[0]] - exact[pair[1]]) ** 2).sum() for pair in pairs(count)}
    same = [value for (one, other), value in distance.items() if labels[one] == labels[other] >= 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "BLOCK_BYTES", block)
        expected = np.log(np.mean([np.exp(-2 * value) for value in distance.values()]))
        assert uniformity(vectors) == pytest.approx(expected, abs=1e-5)
        if same:
            assert alignment(vectors, labels) == pytest.approx(np.mean(same), abs=1e-6)
        singular = np.linalg.svd(exact, compute_uv=False)
        share = singular[singular > 1e-6] / singular[singular > 1e-6].sum()
        assert effective_rank(vectors) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
    products = [exact[one] @ exact[other] for one, other in pairs(count)]
    assert mean_similarity(vectors) == pytest.approx(np.mean(products), abs=1e-6)


def test_effective_rank_counts_the_directions_that_are_filled() -> None:
    for rank in (1, 2, 7):
        vectors = np.repeat(np.eye(40, dtype=np.float32)[:rank], 30, axis=0)
        assert effective_rank(vectors) == pytest.approx(rank, rel=1e-6)
        assert effective_rank(np.ascontiguousarray(vectors.T)) == pytest.approx(rank, rel=1e-6), "either Gram matrix"
    assert effective_rank(np.zeros((5, 3), np.float32)) == 0


def test_effective_rank_sees_no_directions_in_the_rounding_of_a_point() -> None:
    # In float32 a Gram matrix of these would have hundreds of directions of a thousandth each.
    point = np.repeat(on_the_sphere(1, 3000), 500, axis=0)
    assert effective_rank(point) == pytest.approx(1, abs=1e-3)


def test_uniformity_of_many_directions_is_minus_four_and_of_a_point_zero() -> None:
    assert uniformity(on_the_sphere(500, 4000)) == pytest.approx(-4, abs=0.01)
    assert uniformity(np.repeat(on_the_sphere(1, 64), 100, axis=0)) == pytest.approx(0, abs=1e-5)


def test_alignment_of_tight_species_is_not_lost_in_rounding() -> None:
    centres = on_the_sphere(10, 32).astype(np.float64)
    offsets = 1e-4 * np.random.default_rng(1).normal(size=(10, 200, 32))
    vectors = (centres[:, None] + offsets).reshape(-1, 32).astype(np.float32)
    # A float32 of a unit vector is right to 3e-8, a thousandth of these offsets.
    assert alignment(vectors, np.repeat(np.arange(10), 200)) == pytest.approx(2 * 32 * 1e-8, rel=0.05)


@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1, -1], [0, -1, -1]])
def test_alignment_without_a_pair_is_refused_or_left_out(labels: list[int]) -> None:
    vectors = on_the_sphere(3, 4)
    with pytest.raises(ValueError, match="at least 2 images; found none"):
        alignment(vectors, np.array(labels))
    assert describe_geometry(vectors, np.array(labels)).alignment is None


@pytest.mark.parametrize("measure", [uniformity, mean_similarity])
def test_one_image_makes_no_pair(measure: object) -> None:
    with pytest.raises(ValueError, match="at least 2 images; found 1"):
        measure(on_the_sphere(1, 4))  # type: ignore[operator]
    with pytest.raises(ValueError, match="at least 2 images; found 1"):
        describe_geometry(on_the_sphere(1, 4), np.array([0]))


def test_a_description_normalises_and_keeps_zero() -> None:
    vectors = on_the_sphere(50, 8)
    vectors[3] = 0
    labels = np.arange(50) % 5
    lengths = np.random.default_rng(2).uniform(1e-20, 1e18, size=(50, 1)).astype(np.float32)
    found = describe_geometry(vectors * lengths, labels)
    assert found.alignment == pytest.approx(alignment(vectors, labels), abs=1e-5)
    assert found.uniformity == pytest.approx(uniformity(vectors), abs=1e-5)
    assert found.effective_rank == pytest.approx(effective_rank(vectors), abs=1e-4)
    assert found.mean_similarity == pytest.approx(mean_similarity(vectors), abs=1e-6)
    assert (found.images, found.species) == (50, 5)


def test_the_sample_is_the_same_for_every_encoder_and_alignment_takes_all() -> None:
    labels = np.repeat(np.arange(60), 5)
    wide = on_the_sphere(300, 20)
    turned = wide @ np.linalg.qr(np.random.default_rng(3).normal(size=(20, 20)))[0].astype(np.float32)
    one, other = (describe_geometry(vectors, labels, most=64) for vectors in (wide, turned))
    assert one.images == 64
    assert one.effective_rank == pytest.approx(other.effective_rank, rel=1e-5)
    assert one.uniformity == pytest.approx(other.uniformity, abs=1e-5)
    assert one.alignment == pytest.approx(alignment(wide, labels), abs=1e-6)
    elsewhere = describe_geometry(wide, labels, most=64, seed=1)
    assert elsewhere.mean_similarity != one.mean_similarity


def test_a_memory_map_is_described_as_the_array_is(tmp_path: object) -> None:
    vectors, labels = on_the_sphere(200, 30), np.random.default_rng(4).integers(0, 20, 200)
    mapped = np.memmap(f"{tmp_path}/v.f32", np.float32, "w+", shape=vectors.shape)
    mapped[:] = vectors
    assert describe_geometry(mapped, labels) == describe_geometry(vectors, labels)


def test_labels_may_be_any_numbers() -> None:
    vectors, labels = on_the_sphere(20, 4), np.repeat([0, 3, 2**24, 2**24 + 1], 5)
    assert describe_geometry(vectors, labels) == describe_geometry(vectors, np.repeat([0, 1, 2, 3], 5))


def simplex(species: int, copies: int) -> np.ndarray:
    """Perfect embeddings: each species a point, the points as far apart as they can be."""
    corners = np.eye(species) - 1 / species
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    return np.repeat(corners, copies, axis=0).astype(np.float32)


@pytest.mark.parametrize("species", [2, 3, 4, 50])
def test_perfect_embeddings_are_not_collapsed(species: int) -> None:
    found = describe_geometry(simplex(species, 10), np.repeat(np.arange(species), 10))
    assert found.effective_rank == pytest.approx(species - 1, rel=1e-4)
    assert not found.is_collapsed


def test_collapse_is_seen_into_a_point_and_into_a_line() -> None:
    labels = np.repeat(np.arange(10), 20)
    noise = 0.005 * np.random.default_rng(5).normal(size=(200, 64)).astype(np.float32)
    point = describe_geometry(on_the_sphere(1, 64) + noise, labels)
    line = describe_geometry(on_the_sphere(1, 64) * np.where(np.arange(200) % 2, 1, -1)[:, None] + noise / 50, labels)
    nothing = describe_geometry(np.zeros((200, 64), np.float32), labels)
    assert point.is_collapsed and point.effective_rank > geometry.LEAST_RANK, "effective rank alone would miss it"
    assert line.is_collapsed and line.mean_similarity < 0.1, "and so would the mean similarity this"
    assert nothing.is_collapsed
    positive = np.abs(on_the_sphere(200, 64)) + 0.15
    healthy = describe_geometry(positive.astype(np.float32), labels)
    assert healthy.mean_similarity > 0.9 and not healthy.is_collapsed, "as of pooled features, all positive"


def test_a_description_goes_to_json_and_back() -> None:
    found = describe_geometry(on_the_sphere(10, 4), np.zeros(10, np.int64))
    assert Geometry(**found.to_json()) == found
    assert all(type(value) in (int, float) for value in found.to_json().values())
