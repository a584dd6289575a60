"""Refit whitening: whiten the output of the trained head once more, from the training images."""

import copy

import torch

from conspecific.evaluation import Evaluator
from conspecific.models import Embedder
from conspecific.models.heads import Whitened


def can_refit(embedder: Embedder) -> bool:
    """Whether the embedding is the output of a whitened head."""
    return isinstance(embedder.head, Whitened) and embedder.search_head


def refit_whitening(embedder: Embedder, evaluator: Evaluator) -> Embedder:
    """Return a copy with its head refitted to the current embeddings of the training images."""
    refitted = copy.deepcopy(embedder)
    refitted.normalize = False
    training = evaluator.embed_training(refitted, "Refitting the whitening")
    refitted.normalize = embedder.normalize
    assert isinstance(refitted.head, Whitened), "the caller asks can_refit"
    refitted.head.fit_again(torch.from_numpy(training.vectors), torch.from_numpy(training.labels))
    return refitted
