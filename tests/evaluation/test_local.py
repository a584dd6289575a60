"""Local re-ranking: cells that match decide where the embeddings cannot, and nothing where they need not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conspecific.errors import DataError
from conspecific.evaluation.local import Fusion, LocalSearcher
from conspecific.index import Searcher
from conspecific.types import EmbeddingSet

RNG = np.random.default_rng(0)
SPECIES, IMAGES = 6, 8
LABELS = np.repeat(np.arange(SPECIES), IMAGES)


def gallery() -> EmbeddingSet:
    """Embeddings that say nothing of the species."""
    return EmbeddingSet(RNG.normal(size=(len(LABELS), 16)).astype(np.float32), np.arange(len(LABELS)), LABELS)


def cells() -> torch.Tensor:
    """Nine cells an image, of which one shows the species, in a random place."""
    drawn = torch.from_numpy(RNG.normal(size=(len(LABELS), 9, 48)).astype(np.float32))
    marks = torch.from_numpy(RNG.normal(size=(SPECIES, 48)).astype(np.float32))
    drawn[torch.arange(len(LABELS)), RNG.integers(0, 9, len(LABELS))] = 4 * marks[LABELS]
    return F.normalize(drawn, dim=2)


def searcher(first: int, weights: tuple[float, float] | None) -> tuple[LocalSearcher, EmbeddingSet]:
    images = gallery()
    fusion = None if weights is None else Fusion(np.array(weights, np.float32), np.zeros(2, np.float32))
    plain = Searcher(images, "cosine")
    return LocalSearcher(images, plain, cells(), np.arange(len(LABELS)), first, fusion), images


def test_matching_cells_bring_the_species_to_the_front_and_the_rest_keeps_its_order() -> None:
    local, images = searcher(20, (0.0, 1.0))
    plain = Searcher(images, "cosine").search(images, 47)
    found = local.search(images, 47)
    hits = (LABELS[found.ids[:, :3]] == LABELS[:, None]).mean()
    assert hits > 2 * (LABELS[plain.ids[:, :3]] == LABELS[:, None]).mean()
    assert (np.sort(found.ids[:, :20]) == np.sort(plain.ids[:, :20])).all()
    assert (found.ids[:, 20:] == plain.ids[:, 20:]).all(), "only the first answers are re-ranked"
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert (found.ids != np.arange(len(LABELS))[:, None]).all(), "a query is not among its answers"
    short = local.search(images, 5)
    assert (short.ids == found.ids[:, :5]).all() and local.seconds > 0


def test_ranks_of_the_first_positive_are_those_of_the_re_ranked_answers() -> None:
    local, images = searcher(10, (0.0, 1.0))
    ids = local.search(images, 47).ids
    expected = (LABELS[ids] == LABELS[:, None]).argmax(axis=1) + 1
    assert (local.rank_of_first_positive(images) == expected).all()


def test_a_score_that_tells_nothing_gets_no_weight() -> None:
    right = RNG.random(4000) < 0.5
    useful, noise = right + RNG.normal(size=4000), RNG.normal(size=4000)
    fusion = Fusion.fit(useful.astype(np.float32), noise.astype(np.float32), right)
    assert abs(fusion.weights[1]) < 0.1 * fusion.weights[0]
    with pytest.raises(DataError, match="all answers were right, or none"):
        Fusion.fit(useful, noise, np.ones(4000))


def test_two_images_match_as_their_mutual_nearest_cells_do() -> None:
    images = EmbeddingSet(np.eye(3, dtype=np.float32), np.arange(3), np.arange(3))
    described = torch.eye(4).repeat(3, 1, 1)
    described[1] = described[0][[2, 3, 1, 0]]  # the same cells elsewhere
    described[2, :3] = -1.0
    local = LocalSearcher(images, Searcher(images, "cosine"), F.normalize(described, dim=2), np.arange(3), 2, None)
    found = local.match(np.array([0]), np.array([[1, 2]]))[0]
    assert found[0] == pytest.approx(1) and found[1] == pytest.approx(0.25)
