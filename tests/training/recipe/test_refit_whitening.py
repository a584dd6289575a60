"""Refit whitening: the output of a trained head, whitened by the training images."""

from typing import Any

import numpy as np
import pytest
import torch

from conspecific.models import Embedder, build_embedder
from conspecific.models.heads import RIDGE_AFTER_TRAINING
from conspecific.models.whitening import fit_whitening
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


def test_refitting_whitens_what_the_head_gives_now() -> None:
    images, embedder = Images(), embedder_of(head="whitened")
    refitted = refit_whitening(embedder, images)  # type: ignore[arg-type]
    assert refitted.normalize and embedder.normalize
    embedder.normalize = refitted.normalize = False
    before, after = (torch.from_numpy(images.embed_training(each, "").vectors) for each in (embedder, refitted))
    (whitening,) = fit_whitening(before, torch.from_numpy(LABELS), [0.0], RIDGE_AFTER_TRAINING)
    wanted = (before - whitening.centre) @ whitening.matrix()
    torch.testing.assert_close(after.double(), wanted * 3**0.5 / wanted.norm(dim=1).mean(), rtol=1e-3, atol=1e-3)


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
