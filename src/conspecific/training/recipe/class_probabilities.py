"""Class probabilities: what the kept embedder says of the training species becomes part of its embedding."""

import copy
from dataclasses import replace

import torch

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder
from conspecific.models.class_probabilities import WithClassProbabilities, mean_embeddings
from conspecific.runs.record import SelectedWeights


def with_class_probabilities(kept: SelectedWeights, config: TrainConfig) -> SelectedWeights | None:
    """Return weights with class probabilities, None where the configuration or the kind of embedding forbids them.

    Under `protocol=unseen` no species that is searched for is among them, so that `recipe.class_probabilities` must ask
    for them. Where numbers of dimensions are asked for, they would be exceeded.
    """
    asked, model = config.recipe.class_probabilities, config.model
    if asked is None:
        asked = config.protocol != "unseen" and model.get("dimensions") is None and not config.recipe.matryoshka
    headed = model.get("embedding_layer", "head") == "head" and model.get("normalize", True)
    if not (asked and headed) or kept.pooled_reference:
        return None
    return replace(kept, class_probabilities=True)


def add_class_probabilities(embedder: Embedder, evaluator: Evaluator) -> Embedder:
    """Return a copy whose embeddings are followed by the probabilities of the species of the training images."""
    training = evaluator.embed_training(embedder, "Embedding the training images for class probabilities")
    added = copy.deepcopy(embedder)
    means = mean_embeddings(torch.from_numpy(training.vectors), torch.from_numpy(training.labels))
    added.head = WithClassProbabilities(added.head, means.to(next(added.backbone.parameters()).device))
    return added
