"""The values that cross layers validate once, when they are made."""

import numpy as np
import pytest

from conspecific.types import EmbeddingSet, Neighbors

IDS = np.array([7, 3, 5, 9])


def four() -> EmbeddingSet:
    return EmbeddingSet(np.arange(8, dtype=np.float32).reshape(4, 2), IDS, np.array([0, 1, 0, -1]))


@pytest.mark.parametrize(
    ("vectors", "ids", "labels", "message"),
    [
        (np.zeros((4, 2)), IDS, IDS, r"float32 of shape \[N, D\]; found float64 of shape \(4, 2\)"),
        (np.zeros(4, np.float32), IDS, IDS, r"found float32 of shape \(4,\)"),
        (np.zeros((3, 2), np.float32), IDS, IDS, r"3 vectors, 4 ids, labels of shape \(4,\)"),
        (np.zeros((4, 2), np.float32), IDS, IDS[:3], r"4 vectors, 4 ids, labels of shape \(3,\)"),
        (np.zeros((4, 2), np.float32), IDS.astype(np.int32), IDS, "int64; found int32 and int64"),
        (np.zeros((4, 2), np.float32), np.array([1, 2, 2, 2]), IDS, "unique; 2 of 4 are repeated"),
    ],
)
def test_embeddings_that_do_not_fit_together_are_refused(
    vectors: np.ndarray, ids: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EmbeddingSet(vectors, ids, labels)


def test_rows_are_selected_by_sample_id_in_the_order_asked_for() -> None:
    chosen = four().select(np.array([9, 7]))
    assert chosen.ids.tolist() == [9, 7]
    assert chosen.vectors.tolist() == [[6, 7], [0, 1]]
    assert chosen.labels.tolist() == [-1, 0]
    assert len(four().select(np.array([], np.int64))) == 0


@pytest.mark.parametrize("ids", [[7, 3, 5, 9], [3, 5], [9]])
def test_rows_that_follow_one_another_are_not_copied(ids: list[int]) -> None:
    embeddings = four()
    chosen = embeddings.select(np.array(ids))
    assert chosen.ids.tolist() == ids
    assert np.shares_memory(chosen.vectors, embeddings.vectors)


def test_sample_ids_that_are_not_there_are_named() -> None:
    with pytest.raises(KeyError, match=r"2 sample ids are not among these embeddings, first \[4, 10\]"):
        four().select(np.array([4, 7, 10]))


def test_neighbors_have_a_score_for_each_id() -> None:
    with pytest.raises(ValueError, match=r"must share \[Q, K\]; found \(2, 3\) and \(2, 2\)"):
        Neighbors(np.zeros((2, 3), np.int64), np.zeros((2, 2), np.float32))
