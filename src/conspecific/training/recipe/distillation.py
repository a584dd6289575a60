"""Distillation: the embeddings of a stronger, frozen teacher, whose similarities the trained network learns."""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor

from conspecific.cached import cached
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import MARKS, build
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder, build_embedder
from conspecific.models.weights import weights_identity

VECTORS = "vectors.npy"
VERSION = 1  # part of the cache key; raise it when a change of code changes the embeddings of a teacher


def embed_with_teacher(config: TrainConfig, evaluator: Evaluator, cache: Path) -> Tensor | None:
    """Return the teacher's embedding of each sample id, [N, D], zero for images that are not in training.

    The embeddings are kept in `cache`, so that a large teacher runs once for all runs on the same images. None without
    a teacher. Raises ConfigError for a teacher without a weight or a weight without a teacher.
    """
    weight, teacher = config.recipe.distillation, config.teacher
    if bool(weight) != bool(teacher):
        found = f"recipe.distillation={weight} and " + ("a teacher" if teacher else "no teacher")
        raise ConfigError(f"found {found}: set both, as in teacher=timm teacher.backbone=NAME recipe.distillation=1")
    if not teacher:
        return None
    ids = evaluator.splits.train

    def make(folder: Path) -> None:
        embedder: Embedder = build(teacher, "teacher", config.allow)
        encoder, title = evaluator.encoder(embedder.backbone), "Embedding with the teacher"
        vectors = evaluator.embed({"teacher": embedder}, ids, title, encoder=encoder)["teacher"].vectors
        np.save(folder / VECTORS, vectors)

    kept = np.load(cached(cache / "teachers" / _key(teacher, evaluator), make, evaluator.encoders.say) / VECTORS)
    embeddings = np.zeros((len(evaluator.manifest), kept.shape[1]), np.float32)
    embeddings[ids] = kept
    return torch.from_numpy(embeddings)


def _key(teacher: dict[str, Any], evaluator: Evaluator) -> str:
    """A hash of everything that the embeddings depend on."""
    given = {name: value for name, value in teacher.items() if name not in MARKS}
    bound = inspect.signature(build_embedder).bind(**given)
    bound.apply_defaults()
    backbone, weights = str(bound.arguments["backbone"]), str(bound.arguments["weights"])
    model = {**bound.arguments, "weights": weights_identity(backbone, weights)}
    facts = json.dumps(
        [VERSION, timm.__version__, model, evaluator.fingerprint, evaluator.image_size], sort_keys=True, default=str
    )
    return hashlib.sha256(facts.encode() + evaluator.splits.train.tobytes()).hexdigest()[:16]
