"""Local re-ranking: cells that match decide where the embeddings cannot, and nothing where they need not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conspecific.errors import DataError, RunError
from conspecific.evaluation.local.cells import CellDescriptors, Cells
from conspecific.evaluation.local.described import Described
from conspecific.evaluation.local.fusion import Fusion
from conspecific.evaluation.local.searcher import LocalSearcher
from conspecific.index import Searcher
from conspecific.models import build_embedder
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


def described(cells: torch.Tensor) -> Described:
    """Cells [N, P, d] of the images 0 to N - 1; none is ever read."""
    embedder = build_embedder("test_resnet", "none", head="none")
    pooling = Cells(torch.zeros(1), torch.zeros(1, 1))
    kind = CellDescriptors(pooling, embedder, embedder.backbone, torch.device("cpu"), 32)
    held = Described(kind, lambda sample_id: pytest.fail(f"image {sample_id} is read"), 1)
    for sample_id, each in enumerate(cells):
        held.hold(sample_id, each.half())
    return held


def searcher(first: int, weights: tuple[float, float] | None) -> tuple[LocalSearcher, EmbeddingSet]:
    images = gallery()
    fusion = None if weights is None else Fusion(np.array(weights, np.float32), np.zeros(2, np.float32))
    plain = Searcher(images, "cosine")
    return LocalSearcher(images, plain, described(cells()), first, fusion), images


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
    shown = torch.eye(4).repeat(3, 1, 1)
    shown[1] = shown[0][[2, 3, 1, 0]]  # the same cells elsewhere
    shown[2, :3] = -1.0
    local = LocalSearcher(images, Searcher(images, "cosine"), described(F.normalize(shown, dim=2)), 2, None)
    found = local.match(np.array([0, 2]), np.array([[1, 2], [-1, -1]]))
    assert found[0, 0] == pytest.approx(1) and found[0, 1] == pytest.approx(0.25)
    assert (found[1] == 0).all(), "there is no image -1"
    assert local.described.bytes_per_image == 4 * 4 * 2


def test_a_query_from_elsewhere_is_matched_anew_each_time() -> None:
    images = EmbeddingSet(np.eye(3, dtype=np.float32), np.arange(3), np.arange(3))
    local = LocalSearcher(images, Searcher(images, "cosine"), described(torch.eye(4).repeat(3, 1, 1)), 2, None)
    for cells, expected in ((torch.eye(4), 1.0), (-torch.eye(4), 0.0)):
        local.described.hold(-1, cells.half())
        assert local.match(np.array([-1]), np.array([[0, 1]]))[0] == pytest.approx(expected)
    assert local.matched == 2
    for _ in range(2):
        assert local.match(np.array([2]), np.array([[0, 1]]))[0] == pytest.approx(1)
    assert local.matched == 3, "what an image of the gallery matches is kept"


def test_images_are_described_when_they_are_asked_for_and_kept_for_a_while() -> None:
    embedder = build_embedder("test_resnet", "none", head="none").eval()
    channels, read = embedder.backbone.channels, list[int]()
    pooling = Cells(torch.zeros(channels), torch.eye(channels)[:, :8])
    kind = CellDescriptors(pooling, embedder, embedder.backbone, torch.device("cpu"), 64)

    def image(sample_id: int) -> torch.Tensor:
        read.append(sample_id)
        drawn = np.random.default_rng(sample_id).integers(0, 256, (3, 64, 64), np.uint8)
        return torch.from_numpy(drawn)

    held = Described(kind, image, workers=1, most=3)
    first = held.of([5, 6, 5])
    assert read == [5, 6] and first[0] is first[2] and first[0].shape[1] == 8 and held.computed == 2
    held.of([7, 8])
    held.of([5])
    assert read == [5, 6, 7, 8], "5 is kept"
    held.of([6])
    assert read[-1] == 6, "the image that was asked for longest ago is given up"


def test_a_fusion_is_read_from_numbers_alone() -> None:
    fusion = Fusion(np.array([1.5, 0.25], np.float32), np.array([0.5, 0.125], np.float32))
    again = Fusion.from_json(fusion.to_json())
    assert (again.weights == fusion.weights).all() and (again.means == fusion.means).all()
    for stored in (None, {}, {"weights": [1.0, 2.0], "means": [0.0]}, {"weights": [1.0, "2"], "means": [0.0, 0.0]}):
        with pytest.raises(RunError, match="two weights and two means"):
            Fusion.from_json(stored)
