"""The references that fine-tuning is compared with: the frozen backbone, scored once and cached."""

import hashlib
import json
from pathlib import Path

import torch

from conspecific.cached import cached
from conspecific.data.splits import Subset
from conspecific.evaluation.evaluator import Evaluator
from conspecific.metrics import metric_names
from conspecific.models import Backbone, flatten_baseline, pooled_reference
from conspecific.models.weights import weights_identity
from conspecific.types import EvalResult

REFERENCES = {"flatten": flatten_baseline, "pooled": pooled_reference}
SCORING = 5  # raise it when a change of code moves numbers or metrics: cached results are then computed again


def references(
    evaluator: Evaluator, subset: str, backbone: str, weights: str, cache: Path, trainable_stages: int | None = None
) -> dict[str, EvalResult]:
    """Return the flatten baseline and the pooled reference on the `val` or `test` subset, from `cache` if they are
    there.

    Both come from one pass of the backbone over the images, or from the activations that the evaluator has of its
    frozen stages. backbone, weights, trainable_stages: as `models.build_embedder` takes them.
    """

    def make(folder: Path) -> None:
        network = untrained(backbone, weights, trainable_stages)
        encoder = None if evaluator.has_activations(network, subset) else evaluator.encoder(network)
        embedders = {name: create(network) for name, create in REFERENCES.items()}
        for name, result in evaluator.score(embedders, subset, f"Baseline on {subset}", encoder).items():
            result.save(folder / name)

    key = _key(evaluator, subset, backbone, weights)
    folder = cached(cache / "references" / key, make, evaluator.encoders.say)
    return {name: EvalResult.load(folder / name) for name in REFERENCES}


def untrained(backbone: str, weights: str, trainable_stages: int | None = None) -> Backbone:
    """Return a backbone as it is before training, split where that of the model is.

    Random weights (`weights=none`) are the same in every call, so that what is cached is of the network that others
    see, and a resumed run compares with the one that it began with.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Backbone(backbone, weights)
    network.freeze(trainable_stages, norms=True)
    return network


def _key(evaluator: Evaluator, subset: str, backbone: str, weights: str) -> str:
    """Return a hash of everything that the numbers depend on."""
    ids: Subset = evaluator.subset(subset)
    splits, metrics = evaluator.splits, metric_names(evaluator.ks)
    facts = [SCORING, evaluator.fingerprint, splits.protocol, evaluator.image_size, metrics]
    if evaluator.exclude_group:
        facts.append("exclude_group")
    if (precision := evaluator.precision(subset)) != "float32":
        facts.append(precision)  # that of the model that is compared with them
    digest = hashlib.sha256(json.dumps([*facts, backbone, weights_identity(backbone, weights)]).encode())
    digest.update(ids.query.tobytes() + b"|" + ids.gallery.tobytes())
    return digest.hexdigest()[:16]
