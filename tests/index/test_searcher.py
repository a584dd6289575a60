from dataclasses import replace

import numpy as np
import pytest
import torch

from conspecific.index import Searcher, gallery
from conspecific.index.searcher import score_matrix
from conspecific.types import EmbeddingSet

METRICS = ["cosine", "l2"]


def embed(vectors, labels=None, first_id=0):
    vectors = np.asarray(vectors, np.float32)
    labels = np.zeros(len(vectors), np.int64) if labels is None else np.asarray(labels, np.int64)
    return EmbeddingSet(vectors, np.arange(first_id, first_id + len(vectors)), labels)


def clusters(count, dimensions=16, classes=12, seed=0, first_id=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centres = np.random.default_rng(99).normal(size=(classes, dimensions))
    return embed(centres[labels] + 1.5 * rng.normal(size=(count, dimensions)), labels, first_id)


def score_plainly(query, other, metric):
    query, other = query.astype(np.float64), other.astype(np.float64)
    if metric == "l2":
        return -((query - other) ** 2).sum()
    length = np.sqrt((query**2).sum() * (other**2).sum())
    return 0.0 if length == 0 else (query * other).sum() / length


def rank_plainly(queries, images, metric):
    """For each query the (score, id, label) of every other image, nearest first."""
    rankings = []
    for row, own in enumerate(queries.left_out):
        others = [place for place in range(len(images)) if images.left_out[place] != own]
        scored = [(score_plainly(queries.vectors[row], images.vectors[place], metric), place) for place in others]
        scored.sort(reverse=True)
        rankings.append([(score, images.ids[place], images.labels[place]) for score, place in scored])
    return rankings


def first_plainly(label, ranking):
    return next((rank for rank, (_, _, other) in enumerate(ranking, 1) if other == label and label >= 0), 0)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows: each search then crosses many of them."""
    monkeypatch.setattr(gallery, "BLOCK_BYTES", 16 * 4 * 7)


@pytest.mark.parametrize("metric", METRICS)
def test_agrees_with_plain_loops(metric):
    queries, images = clusters(40, seed=1), clusters(90, first_id=2)
    found = Searcher(images, metric).search(queries, 8)
    for row, ranking in enumerate(rank_plainly(queries, images, metric)):
        assert found.ids[row].tolist() == [number for _, number, _ in ranking[:8]]
        np.testing.assert_allclose(found.scores[row], [score for score, _, _ in ranking[:8]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block_bytes", [2**20, 16 * 4 * 7])
@pytest.mark.parametrize("metric", METRICS)
def test_matrix_products_on_a_device_find_what_faiss_finds(metric, block_bytes, monkeypatch):
    monkeypatch.setattr(gallery, "BLOCK_BYTES", block_bytes)
    queries, images = clusters(40, seed=1), clusters(90, first_id=20)
    expected = Searcher(images, metric).search(queries, 8)
    found = Searcher(images, metric, torch.device("cpu")).search(queries, 8)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)


def test_a_device_orders_ties_as_faiss_does_and_keeps_the_precision_that_was_set(monkeypatch):
    images = embed(np.eye(4)[np.arange(40) % 4], labels=np.arange(40) % 4)
    torch.set_float32_matmul_precision("high")
    used = []
    topk = torch.Tensor.topk
    monkeypatch.setattr(
        torch.Tensor, "topk", lambda *given: used.append(torch.get_float32_matmul_precision()) or topk(*given)
    )
    found = Searcher(images, "cosine", torch.device("cpu")).search(images, 39)
    assert used == ["highest"] and torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(found.ids, Searcher(images, "cosine").search(images, 39).ids)


@pytest.mark.parametrize("metric", METRICS)
def test_first_rank_agrees_with_plain_loops(metric):
    queries, images = clusters(60, seed=1, classes=14), clusters(90, first_id=2)
    ranks = Searcher(images, metric).rank_of_first_positive(queries)
    rankings = rank_plainly(queries, images, metric)
    assert ranks.tolist() == [first_plainly(*pair) for pair in zip(queries.labels, rankings, strict=True)]
    assert {0, 1} < set(ranks.tolist())
    assert ranks.dtype == np.int64


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 5, 60, 200])
def test_blocks_do_not_change_the_answer(metric, k, monkeypatch):
    images, queries = clusters(100), clusters(30, seed=5, first_id=90)
    whole = Searcher(images, metric)
    found, ranks = whole.search(queries, k), whole.rank_of_first_positive(queries)
    monkeypatch.setattr(gallery, "BLOCK_BYTES", 16 * 4 * 7)
    cut = Searcher(images, metric)
    assert len(list(cut._gallery.blocks())) == 15
    again = cut.search(queries, k)
    np.testing.assert_array_equal(again.ids, found.ids)
    np.testing.assert_allclose(again.scores, found.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cut.rank_of_first_positive(queries), ranks)


def test_memory_mapped_gallery(tmp_path, small_blocks):
    images = clusters(50)
    np.save(tmp_path / "vectors.npy", images.vectors)
    mapped = EmbeddingSet(np.load(tmp_path / "vectors.npy", mmap_mode="r"), images.ids, images.labels)
    for metric in METRICS:
        found = Searcher(mapped, metric).search(mapped, 5)
        np.testing.assert_array_equal(found.ids, Searcher(images, metric).search(images, 5).ids)


@pytest.mark.parametrize("metric", METRICS)
def test_query_leaves_itself_out_though_duplicates_outrank_it(metric):
    # 30 images, all the same: the query is rank 0 for one of them at most, and must be missing from every list.
    images = embed(np.ones((30, 4)), first_id=100)
    found = Searcher(images, metric).search(images, 29)
    for own, ids in zip(images.ids, found.ids, strict=True):
        assert sorted(ids) == [number for number in images.ids if number != own]


@pytest.mark.parametrize("metric", METRICS)
def test_duplicate_of_a_query_outside_the_gallery_is_kept(metric):
    images = clusters(20)
    stranger = EmbeddingSet(images.vectors[:5], np.arange(-5, 0), images.labels[:5])
    searcher = Searcher(images, metric)
    assert searcher.search(stranger, 3).ids[:, 0].tolist() == images.ids[:5].tolist()
    assert searcher.rank_of_first_positive(stranger).tolist() == [1] * 5


@pytest.mark.parametrize("metric", METRICS)
def test_own_id_is_left_out_wherever_it_ranks(metric):
    # The gallery holds another vector under the query's id: far away, and beyond k.
    images = embed([[1, 0], [1, 0.1], [1, 0.2], [-1, 0]], labels=[0, 1, 0, 0])
    query = EmbeddingSet(np.array([[1, 0]], np.float32), np.array([3]), np.array([0]))
    searcher = Searcher(images, metric)
    assert searcher.search(query, 2).ids.tolist() == [[0, 1]]
    assert searcher.search(query, 4).ids.tolist() == [[0, 1, 2, -1]]
    second = EmbeddingSet(query.vectors, np.array([0]), np.array([0]))
    assert searcher.search(second, 2).ids.tolist() == [[1, 2]]
    assert searcher.rank_of_first_positive(second).tolist() == [2]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [3, 10])
def test_gallery_smaller_than_k_is_padded(metric, k, small_blocks):
    images = clusters(3)
    inside, outside = clusters(1), clusters(2, first_id=-2)
    searcher = Searcher(images, metric)
    found = searcher.search(inside, k)
    assert sorted(found.ids[0, :2]) == [1, 2]
    assert (found.ids[0, 2:] == -1).all()
    assert (found.scores[0, 2:] == -np.inf).all()
    assert np.isfinite(found.scores[0, :2]).all()
    found = searcher.search(outside, k)
    assert (found.ids[:, :3] >= 0).all()
    assert (found.ids[:, 3:] == -1).all()
    assert found.ids.shape == found.scores.shape == (2, k)


def test_a_gallery_of_the_query_alone_answers_nothing():
    alone = embed([[1, 2]], labels=[0])
    searcher = Searcher(alone, "cosine")
    assert searcher.search(alone, 2).ids.tolist() == [[-1, -1]]
    assert searcher.rank_of_first_positive(alone).tolist() == [0]


def test_unknown_labels_are_nobodys_positive():
    images = embed(np.eye(4), labels=[-1, -1, 2**62, 2**62 + 1])
    assert Searcher(images, "l2").rank_of_first_positive(images).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [0.3, 0.2, 0.9]])
def test_constant_embeddings_score_chance(metric, vector):
    images = embed(np.tile(vector, (500, 1)), labels=np.repeat(np.arange(50), 10))
    searcher = Searcher(images, metric)
    hits = searcher.search(images, 10).ids // 10 == images.labels[:, None]
    ranks = searcher.rank_of_first_positive(images)
    assert hits[:, 0].mean() == pytest.approx(9 / 499, abs=0.01)
    # 1 - C(490, 10) / C(499, 10), and three standard deviations of what one random order gives 50 species.
    assert hits.any(axis=1).mean() == pytest.approx(0.168, abs=0.05)
    # The first of 9 positives among 499 is expected at rank 500 / 10, again with three standard deviations.
    assert ranks.mean() == pytest.approx(50, abs=20)


@pytest.mark.parametrize("metric", METRICS)
def test_ties_do_not_favour_the_front_of_the_gallery(metric, small_blocks):
    # Without a random order the 50 images of the queried species, listed first, would fill the top 50.
    images = embed(np.ones((500, 16)), labels=np.repeat([0, 1], [50, 450]), first_id=10)
    queries = embed(np.ones((2, 16)), first_id=1000)
    found = Searcher(images, metric).search(queries, 50)
    assert (found.ids < 60).mean() == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize("metric", METRICS)
def test_first_rank_of_exact_ties_is_that_of_the_whole_search(metric, monkeypatch):
    # Signed unit vectors: every score is exact and most of them tie.
    rng = np.random.default_rng(8)
    vectors = np.eye(4)[rng.integers(0, 4, 80)] * rng.choice([-1, 1], (80, 1))
    images = embed(vectors, labels=rng.integers(0, 30, 80))
    for block_bytes in (2**20, 16 * 5):
        monkeypatch.setattr(gallery, "BLOCK_BYTES", block_bytes)
        searcher = Searcher(images, metric)
        hits = images.labels[searcher.search(images, 79).ids] == images.labels[:, None]
        expected = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
        np.testing.assert_array_equal(searcher.rank_of_first_positive(images), expected)


def test_first_rank_respects_what_the_search_has_shown():
    searcher, images = Searcher(clusters(60), "cosine"), clusters(60, classes=13)
    ranks = searcher.rank_of_first_positive(images)
    assert 1 in ranks
    np.testing.assert_array_equal(
        searcher.rank_of_first_positive(images, beyond=4), np.where(ranks, np.maximum(ranks, 5), 0)
    )


def test_cosine_ignores_length_and_l2_does_not():
    images = embed([[1e-30, 0], [0, 1e30], [0, 0]])
    query = embed([[3, 4]], first_id=9)
    found = Searcher(images, "cosine").search(query, 3)
    assert found.ids.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(found.scores, [[0.8, 0.6, 0]], rtol=1e-6)
    found = Searcher(embed([[1, 0], [0, 9], [3, 3]]), "l2").search(query, 3)
    assert found.ids.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(found.scores, [[-1, -20, -34]])


def test_squared_distances_are_as_right_as_promised():
    # Far from the origin and close together, where the expansion loses most; two of each, so that some distances are 0;
    # 120 queries of 1,280 dimensions, a batch that faiss expands.
    rng = np.random.default_rng(0)
    vectors = np.tile(10 + rng.normal(size=(60, 1280)), (2, 1)).astype(np.float32)
    exact = np.array([-((vectors.astype(np.float64) - row) ** 2).sum(axis=1) for row in vectors])
    tolerance = 3e-6 * 2 * float((vectors[0] ** 2).sum())
    found = Searcher(embed(vectors), "l2").search(embed(vectors, first_id=1000), 120)
    ours = score_matrix(vectors, vectors, "l2")
    for scores in (ours, np.take_along_axis(found.scores, np.argsort(found.ids, axis=1), 1)):
        assert np.abs(scores - exact).max() < tolerance
        assert scores.max() == 0


def test_inputs_are_left_as_they_were():
    images = clusters(30)
    before = images.vectors.copy()
    searcher = Searcher(images, "cosine")
    searcher.search(images, 3)
    searcher.rank_of_first_positive(images)
    np.testing.assert_array_equal(images.vectors, before)


def test_no_queries():
    searcher = Searcher(clusters(5), "l2")
    assert searcher.search(clusters(0), 3).ids.shape == (0, 3)
    assert searcher.rank_of_first_positive(clusters(0)).shape == (0,)


def test_what_cannot_be_searched_is_refused(small_blocks):
    searcher = Searcher(clusters(20), "cosine")
    with pytest.raises(ValueError, match="k must be at least 1; found 0"):
        searcher.search(clusters(2), 0)
    for call in (lambda queries: searcher.search(queries, 1), searcher.rank_of_first_positive):
        with pytest.raises(ValueError, match="queries have 3 dimensions and the gallery 16"):
            call(clusters(2, dimensions=3))
        with pytest.raises(ValueError, match=r"1 of 2 query embeddings are not finite .* \[41\]"):
            call(embed([[0.0] * 16, [np.inf] * 16], first_id=40))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("blocks", ["one block", "many blocks"])
def test_a_querys_group_is_left_out_of_its_answers_and_ranks(metric, blocks, request):
    if blocks == "many blocks":
        request.getfixturevalue("small_blocks")
    rng = np.random.default_rng(3)
    images = clusters(90, first_id=2)
    images = replace(images, groups=rng.integers(0, 12, len(images)))
    queries = images.select(images.ids[:40])
    stranger = clusters(10, seed=4, first_id=500)
    queries = EmbeddingSet(
        np.vstack([queries.vectors, stranger.vectors]),
        np.append(queries.ids, stranger.ids),
        np.append(queries.labels, stranger.labels),
        np.append(queries.groups, rng.integers(0, 14, 10)),
    )
    searcher, rankings = Searcher(images, metric), rank_plainly(queries, images, metric)
    found = searcher.search(queries, 88)
    for row, ranking in enumerate(rankings):
        wanted = [number for _, number, _ in ranking[:88]]
        assert found.ids[row].tolist() == wanted + [-1] * (88 - len(wanted))
    ranks = [first_plainly(label, ranking) for label, ranking in zip(queries.labels, rankings, strict=True)]
    assert searcher.rank_of_first_positive(queries).tolist() == ranks


def test_queries_and_gallery_both_have_groups_or_neither():
    images = clusters(20)
    grouped = replace(images, groups=np.zeros(20, np.int64))
    with pytest.raises(ValueError, match="only the queries of a search have groups"):
        Searcher(images, "cosine").search(grouped, 3)
    with pytest.raises(ValueError, match="only the gallery of a search have groups"):
        Searcher(grouped, "cosine").rank_of_first_positive(images)
    assert (Searcher(grouped, "cosine").search(grouped, 3).ids == -1).all(), "all are of one group"
