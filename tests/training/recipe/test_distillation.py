"""What a stronger network makes of the training images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import RecipeConfig, TrainConfig
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.training.recipe import distillation as teacher
from conspecific.training.recipe.distillation import embed_with_teacher

TAUGHT = ["teacher=timm", "teacher.backbone=test_resnet", "teacher.weights=none", "recipe.distillation=0.5"]


def config(*overrides: str) -> TrainConfig:
    return typed(compose_config("train", overrides), TrainConfig)


@pytest.fixture
def evaluator(make_folder: Callable[..., Path]) -> Evaluator:
    manifest = from_folder(str(make_folder({"robin": 8, "wren": 8})))
    cpu = torch.device("cpu")
    return Evaluator(manifest, split(manifest, "seen"), "birds", 32, 0, cpu, Console(quiet=True))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The teachers that were built."""
    found: list[Any] = []
    plain = teacher.build

    def building(*arguments: Any) -> Any:
        found.append(plain(*arguments))
        return found[-1]

    monkeypatch.setattr(teacher, "build", building)
    return found


def test_each_training_image_has_its_teachers_embedding(evaluator: Evaluator, tmp_path: Path, built: list[Any]) -> None:
    teacher_embeddings = embed_with_teacher(config(*TAUGHT), evaluator, tmp_path)
    assert teacher_embeddings is not None
    train = evaluator.splits.train
    wanted = evaluator.embed({"teacher": built[0]}, train, "")["teacher"].vectors
    assert teacher_embeddings.shape == (16, wanted.shape[1])
    np.testing.assert_allclose(teacher_embeddings[train].numpy(), wanted, atol=1e-6)
    others = np.setdiff1d(np.arange(16), train)
    assert others.size and (teacher_embeddings[others] == 0).all()


def test_a_teacher_is_asked_once_for_all_runs_on_the_same_images(
    evaluator: Evaluator, tmp_path: Path, built: list[Any]
) -> None:
    first = embed_with_teacher(config(*TAUGHT), evaluator, tmp_path)
    again = embed_with_teacher(config(*TAUGHT, "seed=3", "recipe.distillation=2", "loss=triplet"), evaluator, tmp_path)
    assert first is not None and again is not None
    assert torch.equal(first, again)
    assert len(built) == 1


def test_other_images_another_size_or_another_teacher_are_asked_anew(
    evaluator: Evaluator, tmp_path: Path, built: list[Any]
) -> None:
    fewer = replace(evaluator.splits, train=evaluator.splits.train[:3])
    embed_with_teacher(config(*TAUGHT), evaluator, tmp_path)
    embed_with_teacher(config(*TAUGHT), replace(evaluator, splits=fewer), tmp_path)
    embed_with_teacher(config(*TAUGHT), replace(evaluator, image_size=64), tmp_path)
    embed_with_teacher(config(*TAUGHT), replace(evaluator, fingerprint="other birds"), tmp_path)
    embed_with_teacher(config(*TAUGHT, "teacher.backbone=test_efficientnet"), evaluator, tmp_path)
    embed_with_teacher(config(*TAUGHT, "teacher.pooling=max"), evaluator, tmp_path)
    assert len(built) == 6
    assert len([*(tmp_path / "teachers").iterdir()]) == 6


def test_without_a_teacher_nothing_is_taught(evaluator: Evaluator, tmp_path: Path) -> None:
    assert embed_with_teacher(config(), evaluator, tmp_path) is None
    assert [*tmp_path.iterdir()] == [tmp_path / "birds"]


def test_a_teacher_needs_a_weight_and_a_weight_a_teacher(evaluator: Evaluator, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.distillation=0\.0 and a teacher: set both, as in teacher=timm"):
        embed_with_teacher(config(*TAUGHT[:-1]), evaluator, tmp_path)
    with pytest.raises(ConfigError, match=r"recipe\.distillation=1\.0 and no teacher: set both"):
        embed_with_teacher(replace(config(), recipe=RecipeConfig(distillation=1.0)), evaluator, tmp_path)
