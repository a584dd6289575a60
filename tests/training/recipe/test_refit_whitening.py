"""Refit whitening: the output of a trained head, whitened by the training images."""

from typing import Any

import numpy as np
import pytest
import torch

from conspecific.models import Embedder, build_embedder
from conspecific.training.recipe.refit_whitening import can_refit, refit_whitening
from conspecific.types import EmbeddingSet

LABELS = np.repeat(np.arange(4), 6)


class Images:
    """An evaluator with random training images; it embeds them with whatever embedder it is given."""

    def __init__(self) -> None:
        self.images = torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def embed_training(self, embedder: Embedder, title: str) -> EmbeddingSet:
        with torch.inference_mode():
            return EmbeddingSet(embedder.eval()(self.images).numpy(), np.arange(24), LABELS)


def embedder_of(**options: Any) -> Embedder:
    torch.manual_seed(0)
    return build_embedder("test_resnet", "none", pooling="avg", dimensions=3, trainable_stages=1, **options)


def within(vectors: Any) -> Any:
    """Covariance of the vectors around the mean of their species."""
    groups = vectors.reshape(4, 6, -1)
    centred = (groups - groups.mean(axis=1, keepdims=True)).reshape(24, -1)
    return centred.T @ centred / 24


def variances(embedder: Embedder, images: Images) -> Any:
    """Variances within species along the directions in which they differ, ascending, the largest as 1."""
    embedder.normalize = False
    found = np.linalg.eigvalsh(within(images.embed_training(embedder, "").vectors.astype(np.float64)))
    return found / found[-1]


def test_refitting_divides_by_the_spread_within_species() -> None:
    """A variance v becomes v / (v + mean of the variances), as the docstring of the head says."""
    images, embedder = Images(), embedder_of(head="whitened")
    refitted = refit_whitening(embedder, images)  # type: ignore[arg-type]
    assert refitted.normalize and embedder.normalize
    before = variances(embedder, images)
    wanted = before / (before + before.mean())
    np.testing.assert_allclose(variances(refitted, images), wanted / wanted[-1], rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"head": "whitened"}, True),
        ({"head": "whitened", "embedding_layer": "pooled"}, False),
        ({"head": "linear"}, False),
    ],
)
def test_only_an_embedding_from_a_whitened_head_can_be_refitted(options: dict[str, Any], wanted: bool) -> None:
    assert can_refit(embedder_of(**options)) is wanted
