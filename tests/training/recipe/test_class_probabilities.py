"""Class probabilities: further dimensions of an embedding, from the training species."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.models import Embedder, build_embedder
from conspecific.models.class_probabilities import MEANS, WithClassProbabilities, mean_embeddings
from conspecific.models.weights import save_weights
from conspecific.runs.open import load_embedder
from conspecific.runs.record import SelectedWeights
from conspecific.training.recipe.class_probabilities import add_class_probabilities, with_class_probabilities
from conspecific.types import EmbeddingSet

LABELS = np.repeat([2, 5, 7], 4)
MODEL = ("model=timm", "model.backbone=test_resnet", "model.weights=none", "model.dimensions=6")


class Images:
    """An evaluator with random training images; it embeds them with whatever embedder it is given."""

    def __init__(self) -> None:
        self.images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def embed_training(self, embedder: Embedder, title: str) -> EmbeddingSet:
        with torch.inference_mode():
            return EmbeddingSet(embedder.eval()(self.images).numpy(), np.arange(12), LABELS)


def embedder_of(**options: Any) -> Embedder:
    torch.manual_seed(0)
    return build_embedder("test_resnet", "none", pooling="avg", dimensions=6, **options)


def config_of(*overrides: str) -> TrainConfig:
    return typed(compose_config("train", list(overrides)), TrainConfig)


def test_the_similarity_gains_the_probability_of_one_species() -> None:
    embedder, images = embedder_of(), Images()
    added = add_class_probabilities(embedder, images, 2.0)  # type: ignore[arg-type]
    plain, more = (torch.from_numpy(images.embed_training(each, "").vectors) for each in (embedder, added))
    means = torch.stack([torch.nn.functional.normalize(plain[4 * k : 4 * k + 4].mean(dim=0), dim=0) for k in range(3)])
    probabilities = (8 * plain @ means.T).softmax(dim=1)
    assert more.shape == (12, 9)
    length = (1 + 4 * probabilities.square().sum(dim=1)).sqrt()
    wanted = (plain @ plain.T + 4 * probabilities @ probabilities.T) / length / length[:, None]
    torch.testing.assert_close(more @ more.T, wanted, rtol=1e-4, atol=1e-5)
    added.truncate = 6
    torch.testing.assert_close(torch.from_numpy(images.embed_training(added, "").vectors), plain)
    assert not isinstance(embedder.head, WithClassProbabilities), "the embedder that was given stays as it was"


def test_the_mean_of_a_species_has_length_one() -> None:
    vectors = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
    assert mean_embeddings(vectors, torch.tensor([9, 9, 4])).tolist() == [[-1, 0], pytest.approx([0.5**0.5] * 2)]


def test_weights_open_with_them_and_training_starts_without(tmp_path: Path) -> None:
    images, file = Images(), tmp_path / "weights.safetensors"
    added = add_class_probabilities(embedder_of(head="linear"), images, 0.7)  # type: ignore[arg-type]
    save_weights(added, file)
    opened = load_embedder(config_of(*MODEL, "model.head=linear", "model.pooling=avg"), file)
    assert same(images, opened, added)
    again = build_embedder("test_resnet", str(file), pooling="avg", head="linear", dimensions=6)
    assert again.pretrained_head and MEANS not in again.state_dict()
    assert same(images, again, embedder_of(head="linear"))


def same(images: Images, one: Embedder, other: Embedder) -> bool:
    vectors: list[Tensor] = [torch.from_numpy(images.embed_training(each, "").vectors) for each in (one, other)]
    return torch.allclose(*vectors, atol=1e-6)


KEPT = SelectedWeights(20)


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ([], 0.5),
        (["protocol=query_gallery"], 0.5),
        (["protocol=unseen"], None),
        (["protocol=unseen", "recipe.class_probabilities=1"], 1.0),
        (["recipe.class_probabilities=0"], None),
        (["model.dimensions=64"], None),
        (["model.dimensions=64", "recipe.class_probabilities=1"], 1.0),
        (["recipe.matryoshka=[64]"], None),
        (["model.embedding_layer=pooled"], None),
        (["model.normalize=false"], None),
        (["recipe=neutral"], None),
    ],
)
def test_they_are_a_candidate_where_species_are_known_and_dimensions_free(
    overrides: list[str], wanted: float | None
) -> None:
    found = with_class_probabilities(KEPT, config_of(*overrides))
    assert found == (wanted and SelectedWeights(20, class_probabilities=wanted))


def test_the_pooled_reference_stays_as_it_is() -> None:
    assert with_class_probabilities(SelectedWeights(0, pooled_reference=True), config_of()) is None
