"""What a configuration trains, and training it once without looking at validation."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars
import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor, nn

from conspecific.config.recipe import PK
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.runs.directory import RunDirectory
from conspecific.training.candidates import Start, Trained
from conspecific.training.epoch_bar import EpochBar
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.training.random_states import SeedSteps
from conspecific.training.recipe.cached_augmentations import cache_augmentations
from conspecific.training.recipe.distillation import embed_with_teacher
from conspecific.training.recipe.hard_negatives import HardNegatives
from conspecific.training.recipe.initialization import init_from_data, needs_training_images
from conspecific.training.recipe.matryoshka import matryoshka_loss
from conspecific.training.stopping import KeepFailedBatch, naming_failed_batch
from conspecific.training.trainer import build_trainer
from conspecific.training.training_data import TrainingData


class Parts(NamedTuple):
    """What a configuration trains. random_state: of torch after they were built, from which training continues."""

    module: FineTuner
    images: TrainingData
    random_state: Tensor


def build_parts(config: TrainConfig, evaluator: Evaluator) -> Parts:
    """Build the module with its loss and optimizer, and the training images."""
    teacher_embeddings = embed_with_teacher(config, evaluator, Path(config.paths.cache).expanduser())
    torch.manual_seed(config.seed)  # again: computing the references may have drawn random numbers
    epochs = config.trainer["max_epochs"]
    images = TrainingData(evaluator.manifest, evaluator.splits, config.loader, config.recipe, epochs, config.seed)
    labels = evaluator.manifest.labels[evaluator.splits.train]
    embedder: Embedder = build(config.model, "model", config.allow)
    dimensions = embedder.loss_dimensions(config.loader.train_size)
    loss = build_loss(config, classes=len(set(labels.tolist())), dimensions=dimensions)
    _require_pairs(loss, config.loader.sampling)
    optimizer: GroupedOptimizer = build(config.optimizer, "optimizer", config.allow)
    module = FineTuner(
        embedder, loss, labels, optimizer=optimizer, recipe=config.recipe, teacher_embeddings=teacher_embeddings
    )
    if needs_training_images(module) and (other := embedder.loss_dimensions(config.loader.image_size)) != dimensions:
        raise ConfigError(
            f"embeddings have {dimensions} dimensions at loader.train_size={config.loader.train_size} and {other} at "
            f"loader.image_size={config.loader.image_size}, from which the class vectors are initialized: set both "
            "sizes to the same, or another model.pooling than flatten"
        )
    return Parts(module, images, torch.get_rng_state())


def build_loss(config: TrainConfig, classes: int, dimensions: int) -> MetricLoss | Matryoshka:
    """Build the loss of a number of species, on embeddings of so many dimensions."""

    def make(length: int) -> MetricLoss:
        made: MetricLoss = build(config.loss, "loss", config.allow, num_classes=classes, embedding_size=length)
        return made

    return matryoshka_loss(make, config.recipe.matryoshka, dimensions)


def _require_pairs(loss: nn.Module, sampling: str) -> None:
    """Raise ConfigError for a loss that compares images of one species where batches are not made to have any."""
    parts = loss.losses if isinstance(loss, Matryoshka) else [loss]
    pairs = [part for part in parts if isinstance(part, MetricLoss) and part.vectors is None]
    if pairs and sampling != PK:
        raise ConfigError(
            f"{type(pairs[0].loss).__name__} compares images of one species with each other, and loader.sampling="
            f"{sampling} draws images one by one: set loader.sampling={PK}, or a loss with class vectors (arcface)"
        )


def prepare(config: TrainConfig, evaluator: Evaluator, parts: Parts, *, is_trained: bool = True) -> Evaluator:
    """Cache the augmentations that training draws from; return the evaluator with the activations that heads need."""
    module, images, _ = parts
    backbone = module.embedder.backbone
    if config.recipe.cached_augmentations and is_trained:
        images.cached = cache_augmentations(backbone, images, evaluator, config)
    if needs_training_images(module) or config.recipe.hard_negatives:
        evaluator = evaluator.encoded_once(backbone, "train")
    return evaluator


def train_unwatched(
    config: TrainConfig, evaluator: Evaluator, copies: polars.DataFrame, epochs: int, title: str
) -> tuple[Trained, Evaluator]:
    """Train on the training images of an evaluator for some epochs, all the same but that nothing is scored or kept.

    copies: pairs of sample ids that are the same image. epochs: 0 fits heads alone. title: before the number of an
    epoch, in its progress bar. Returns also the evaluator with the activations of these images.
    """
    console, evaluator = evaluator.console, replace(evaluator, console=Console(quiet=True))
    config = copy.copy(config)
    config.trainer = {**config.trainer, "max_epochs": max(1, epochs)}
    module, images, random_state = parts = build_parts(config, evaluator)
    torch.set_rng_state(random_state)
    evaluator = prepare(config, evaluator.without_activations("train"), parts, is_trained=epochs > 0)
    start = Start.of(module.embedder, init_from_data(module, evaluator))
    if epochs:
        assert config.paths.run is not None, "the caller makes the run directory"
        run = RunDirectory(Path(config.paths.run))
        callbacks: list[pl.Callback] = [SeedSteps(config.seed), KeepFailedBatch(run), EpochBar(console, title)]
        if config.recipe.hard_negatives:
            callbacks.append(HardNegatives(evaluator, copies, images.batches))
        trainer = build_trainer(config, callbacks=callbacks, logger=False, enable_checkpointing=False)
        with expected_warnings(), naming_failed_batch(run):
            trainer.fit(module, datamodule=images)
    return Trained(start, module.eval_embedder, epochs), evaluator
