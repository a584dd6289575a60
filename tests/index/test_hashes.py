"""Every pair within the radius and no other, whatever the blocks."""

import numpy as np
import pytest

from conspecific.index import hashes, near_hashes


def drawn(count: int, seed: int, flips: float = 0.2) -> np.ndarray:
    """Hashes of 32 bits that lie around a few centres, so that there are near ones."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).random((4, 32)) < 0.5
    return np.packbits(centres[rng.integers(4, size=count)] ^ (rng.random((count, 32)) < flips), axis=1)


def by_hand(queries: np.ndarray, gallery: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    distances = np.bitwise_count(queries[:, None] ^ gallery[None]).sum(axis=2, dtype=int)
    return [(q, g, int(distances[q, g])) for q, g in zip(*np.nonzero(distances <= radius), strict=True)]


def found(*args, **options) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in near_hashes(*args, **options)), strict=True))


@pytest.mark.parametrize("radius", [0, 1, 5, 9, 32])
@pytest.mark.parametrize(("block", "pairs"), [(1 << 16, 1 << 23), (8, 64), (1, 1)])
def test_agrees_with_counting_bits(radius: int, block: int, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "GALLERY_BLOCK", block)
    monkeypatch.setattr(hashes, "PAIRS", pairs)
    queries, gallery = drawn(23, seed=1), drawn(40, seed=2)
    expected = by_hand(queries, gallery, radius)
    assert found(queries, gallery, radius) == sorted(expected, key=lambda hit: (hit[0], hit[2], hit[1]))
    assert radius < 5 or expected


@pytest.mark.parametrize("block", [1 << 16, 8])
def test_of_the_views_of_one_thing_only_the_nearest_comes_back(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "GALLERY_BLOCK", block)
    queries, gallery = drawn(23, seed=1), drawn(40, seed=2)
    nearest: dict[tuple[int, int], tuple[int, int]] = {}
    for query, column, distance in by_hand(queries, gallery, 10):
        nearest[query, column // 4] = min(nearest.get((query, column // 4), (99, 0)), (distance, column))
    expected = {(query, column, distance) for (query, _), (distance, column) in nearest.items()}
    assert set(found(queries, gallery, 10, group=4)) == expected
    limited = found(queries, gallery, 10, group=4, limit=2)
    for query in range(23):
        own = sorted((distance, column) for q, column, distance in expected if q == query)
        assert [(d, c) for q, c, d in limited if q == query] == own[:2]


def test_nothing_near_is_nothing() -> None:
    one, other = np.zeros((2, 4), np.uint8), np.full((3, 4), 255, np.uint8)
    assert found(one, other, 31) == []
    assert len(found(one, other, 32)) == 6
    assert found(one[:0], other, 32) == found(one, other[:0], 32) == []


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="must be uint8; found int64"):
        near_hashes(np.zeros((1, 4), np.int64), np.zeros((1, 4), np.uint8), 3)
    with pytest.raises(ValueError, match=r"found \(1, 4\) and \(1, 8\)"):
        near_hashes(np.zeros((1, 4), np.uint8), np.zeros((1, 8), np.uint8), 3)
    with pytest.raises(ValueError, match="7 gallery hashes are not groups of 3"):
        near_hashes(np.zeros((1, 4), np.uint8), np.zeros((7, 4), np.uint8), 3, group=3)
