"""Hard negatives: the nearest images of other species."""

import numpy as np
import polars as pl
import pytest

from conspecific.training.recipe import hard_negatives as module
from conspecific.training.recipe.hard_negatives import hard_negatives
from conspecific.types import EmbeddingSet, Similarity

NO_COPIES = pl.DataFrame({"first": [], "second": []}, schema={"first": pl.Int64, "second": pl.Int64})


def on_a_line(places: list[float], labels: list[int]) -> EmbeddingSet:
    """Images 10, 20, 30 ... at these places."""
    ids = 10 * np.arange(1, len(places) + 1)
    return EmbeddingSet(np.array(places, np.float32)[:, None], ids, np.array(labels))


def test_images_of_other_species_come_nearest_first() -> None:
    found = hard_negatives(on_a_line([0, 1, 2.4, 4, 9], [0, 1, 0, 1, 2]), "l2", NO_COPIES)
    assert found == {10: [20, 40, 50], 20: [10, 30, 50], 30: [20, 40, 50], 40: [30, 10, 50], 50: [40, 30, 20, 10]}


@pytest.mark.parametrize("pair", [(20, 10), (10, 20)])
def test_a_copy_under_another_species_is_no_negative_whichever_comes_first(pair: tuple[int, int]) -> None:
    copies = pl.DataFrame({"first": [pair[0]], "second": [pair[1]], "similarity": [0.99]})
    found = hard_negatives(on_a_line([0, 1, 2.4, 4, 9], [0, 1, 0, 1, 2]), "l2", copies)
    assert found[10] == [40, 50]
    assert found[20] == [30, 50]
    assert found[30] == [20, 40, 50]


def test_nearness_is_by_the_similarity_of_the_embedder() -> None:
    vectors = np.array([[1, 0], [5, 0.1], [1, 0.5]], np.float32)
    images = EmbeddingSet(vectors, np.arange(3), np.arange(3))
    assert [hard_negatives(images, metric, NO_COPIES)[0][0] for metric in ("cosine", "l2")] == [1, 2]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_no_more_are_kept_than_there_are_or_are_asked_for(metric: Similarity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    rng = np.random.default_rng(0)
    images = EmbeddingSet(rng.normal(size=(30, 4)).astype(np.float32), np.arange(30), np.arange(30) % 5)
    found = hard_negatives(images, metric, NO_COPIES)
    assert {len(others) for others in found.values()} == {3}
    assert all(other % 5 != index % 5 for index, others in found.items() for other in others)


def test_an_image_whose_nearest_are_all_of_its_species_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCHED", 2)
    found = hard_negatives(on_a_line([0, 1, 2, 2.9, 9], [0, 0, 0, 1, 1]), "l2", NO_COPIES)
    assert found == {30: [40], 40: [30, 20], 50: [30]}
