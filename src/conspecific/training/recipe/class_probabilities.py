"""Class probabilities: what the kept embedder says of the training species becomes part of its embedding."""

import copy
from dataclasses import replace

import torch

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder
from conspecific.models.class_probabilities import WithClassProbabilities, mean_embeddings
from conspecific.runs.record import SelectedWeights

FACTOR = 0.5  # unless `recipe.class_probabilities` says another; docs/log.md


def with_class_probabilities(kept: SelectedWeights, config: TrainConfig) -> SelectedWeights | None:
    """Return weights with class probabilities, None where the configuration or the kind of embedding forbids them.

    Without a number in `recipe.class_probabilities`, they are left out under `protocol=unseen`, where no species that
    is searched for is among them, and where numbers of dimensions are asked for, which they would exceed.
    """
    asked, model = config.recipe.class_probabilities, config.model
    if asked is None:
        free = config.protocol != "unseen" and model.get("dimensions") is None and not config.recipe.matryoshka
        asked = FACTOR if free else 0.0
    headed = model.get("embedding_layer", "head") == "head" and model.get("normalize", True)
    if not (asked and headed) or kept.pooled_reference:
        return None
    return replace(kept, class_probabilities=asked)


def add_class_probabilities(embedder: Embedder, evaluator: Evaluator, factor: float) -> Embedder:
    """Return a copy whose embeddings are followed by the probabilities of the species of the training images.

    factor: of the probabilities, beside embeddings of length 1.
    """
    training = evaluator.embed_training(embedder, "Embedding the training images for class probabilities")
    added = copy.deepcopy(embedder)
    means = mean_embeddings(torch.from_numpy(training.vectors), torch.from_numpy(training.labels))
    added.head = WithClassProbabilities(added.head, means, factor).to(next(embedder.backbone.parameters()).device)
    return added
