"""What a stronger, frozen network makes of the training images, for the one in training to be like it where alike."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.evaluation.baseline import weights_identity
from conspecific.models import Embedder
from conspecific.types import FloatArray


def teach(config: TrainConfig, evaluator: Evaluator, cache: Path) -> Tensor | None:
    """Return the teacher's embedding of each sample id, [N, D], zero for images that are not trained on.

    They are kept in `cache`, so that a teacher larger than what it teaches runs once for all runs on the same images.
    None without a teacher. Raises ConfigError for a teacher without a weight or a weight without a teacher.
    """
    weight, teacher = config.recipe.distillation, config.teacher
    if bool(weight) != bool(teacher):
        found = f"recipe.distillation={weight} and " + ("a teacher" if teacher else "no teacher")
        raise ConfigError(f"found {found}: set both, as in teacher=timm teacher.backbone=NAME recipe.distillation=1")
    if not teacher:
        return None
    ids = evaluator.splits.train
    file = cache / "teachers" / f"{_key(config, evaluator)}.npy"
    if not file.exists():
        embedder: Embedder = build(teacher)
        found_vectors = evaluator.embed({"teacher": embedder}, ids, "Asking the teacher")["teacher"].vectors
        _save(file, found_vectors)
    kept = np.load(file)
    teacher_embeddings = np.zeros((len(evaluator.manifest), kept.shape[1]), np.float32)
    teacher_embeddings[ids] = kept
    return torch.from_numpy(teacher_embeddings)


def _key(config: TrainConfig, evaluator: Evaluator) -> str:
    teacher = {**config.teacher, "weights": weights_identity(str(config.teacher["weights"]))}
    facts = json.dumps([teacher, evaluator.fingerprint, evaluator.image_size], sort_keys=True)
    return hashlib.sha256(facts.encode() + evaluator.splits.train.tobytes()).hexdigest()[:16]


def _save(file: Path, vectors: FloatArray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.save(stream, vectors)
    partial.replace(file)
