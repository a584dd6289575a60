import numpy as np
import pytest

from conspecific.index import gallery
from conspecific.index.gallery import Gallery, block_slices, prepared, stored_vectors
from conspecific.types import EmbeddingSet


def embed(vectors, first_id=0):
    vectors = np.asarray(vectors, np.float32)
    return EmbeddingSet(vectors, np.arange(first_id, first_id + len(vectors)), np.arange(len(vectors)) % 3)


@pytest.fixture(autouse=True)
def seven_rows_a_block(monkeypatch):
    monkeypatch.setattr(gallery, "BLOCK_BYTES", 7 * 4 * 16)


def numbered(count):
    return embed(np.arange(count * 16).reshape(count, 16), first_id=100)


def test_slices_cover_every_row_once():
    assert block_slices(15, 4 * 16) == [slice(0, 7), slice(7, 14), slice(14, 15)]
    assert block_slices(2, 10**9) == [slice(0, 1), slice(1, 2)]
    assert block_slices(0, 4) == []


def test_gallery_of_one_block_is_indexed_once():
    one = Gallery(numbered(7), "l2")
    first, again = list(one.blocks()), list(one.blocks())
    assert len(first) == 1
    assert first[0][1] is again[0][1]
    assert [index.ntotal for _, index in Gallery(numbered(8), "l2").blocks()] == [7, 1]


def test_blocks_hold_consecutive_rows_ordered_by_place():
    images = numbered(20)
    shuffled = Gallery(images, "l2")
    for block, (places, index) in enumerate(shuffled.blocks()):
        rows = shuffled.ids[places] - 100
        assert sorted(rows) == list(range(7 * block, min(7 * block + 7, 20)))
        assert (np.diff(places) > 0).all()
        np.testing.assert_array_equal(stored_vectors(index), images.vectors[rows])
        np.testing.assert_array_equal(shuffled.labels[places], images.labels[rows])


def test_order_is_random_and_the_same_every_time():
    images = numbered(20)
    order = Gallery(images, "l2").ids
    assert order[-1] == -1
    assert order[:-1].tolist() != images.ids.tolist()
    np.testing.assert_array_equal(order, Gallery(images, "l2").ids)


def test_normalised_for_cosine_only():
    vectors = np.array([[3, 4], [0, 0], [3e-30, 4e-30], [3e30, 4e30]], np.float32)
    unit = prepared(vectors, "cosine")
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [0.6, 0.8], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(prepared(vectors, "l2"), vectors)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_broken_gallery_is_refused_with_its_ids(metric):
    vectors = np.ones((30, 16))
    vectors[[3, 28], 5] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"2 of 30 gallery embeddings are not finite .* \[103, 128\]"):
        Gallery(embed(vectors, first_id=100), metric)


def test_distances_that_overflow_are_refused():
    with pytest.raises(ValueError, match=r"1 of 2 gallery embeddings .* overflow"):
        Gallery(embed([[1, 0], [0, 1e19]]), "l2")


def test_galleries_that_cannot_be_searched_are_refused():
    with pytest.raises(ValueError, match="the gallery is empty"):
        Gallery(numbered(0), "l2")
    with pytest.raises(ValueError, match="2 gallery sample ids are negative"):
        Gallery(embed(np.ones((4, 2)), first_id=-2), "l2")
