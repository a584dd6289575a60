"""Fine-tuning: build the parts of a configuration, train them, and select the weights to keep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger
from torch import Tensor

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build, build_each
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.training.epoch_bar import EpochBar
from conspecific.training.epoch_record import EpochRecord
from conspecific.training.epoch_table import EpochTable
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.training.recipe.cached_augmentations import cache_augmentations
from conspecific.training.recipe.distillation import embed_with_teacher
from conspecific.training.recipe.hard_negatives import HardNegatives
from conspecific.training.recipe.initialization import init_from_data, needs_training_images
from conspecific.training.recipe.matryoshka import matryoshka_loss
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.training.selection import Selection, candidates_of, select
from conspecific.training.stopping import StopOnCollapse, StopOnNonFiniteWeights
from conspecific.training.trainer import best_checkpoint, build_trainer
from conspecific.training.training_data import TrainingData
from conspecific.types import EvalResult


class Parts(NamedTuple):
    """What a configuration trains. random_state: of torch after they were built, from which training continues."""

    module: FineTuner
    images: TrainingData
    random_state: Tensor


class Resumed(NamedTuple):
    """The parts of a run that is continued, with the weights of `checkpoint`. epochs: how many it has finished."""

    parts: Parts
    checkpoint: Path
    epochs: int


def fit(
    config: TrainConfig,
    evaluator: Evaluator,
    parts: Parts,
    references: Mapping[str, EvalResult],
    copies: polars.DataFrame,
    run: RunDirectory,
    loggers: Sequence[Logger],
    resumed: Resumed | None,
) -> Selection:
    """Train, select the weights that validation finds best, save them, and return the selection.

    references: results on validation by name. copies: pairs of sample ids that are the same image. loggers: they stay
    open. resumed: None for a new run.
    """
    module, images, random_state = parts
    torch.set_rng_state(random_state)  # references were scored since the parts were built
    if resumed is not None:
        images.batches.set_epoch(resumed.epochs)  # batches are prefetched before Lightning sets the epoch
    backbone = module.embedder.backbone
    if config.recipe.cached_augmentations:
        images.cached = cache_augmentations(backbone, images, evaluator, config)
    if needs_training_images(module) or config.recipe.hard_negatives:
        evaluator = evaluator.encoded_once(backbone, "train")
    if resumed is None:
        heads = init_from_data(module, evaluator)
        save_weights(module.embedder, run.start)
        if len(heads):
            save_weights(heads, run.untrained_heads)
    evaluator = evaluator.encoded_once(backbone, "val")
    callbacks = [*_own_callbacks(config, evaluator, references, run)]
    if config.recipe.hard_negatives:
        callbacks.append(HardNegatives(evaluator, copies, images.batches))
    callbacks += build_each(config.callbacks, "callbacks", config.allow).values()
    trainer = build_trainer(config, callbacks=callbacks, logger=list(loggers) or False, default_root_dir=str(run.path))
    try:
        with expected_warnings():
            trainer.fit(module, datamodule=images, ckpt_path=resumed and resumed.checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(f"Lightning refuses the trainer or a callback: {error}") from error
    candidates = candidates_of(module, best_checkpoint(trainer), config, evaluator, references, run)
    found = select(candidates, config, evaluator)
    save_weights(found.embedder, run.weights, is_pooled_reference=found.weights.pooled_reference)
    return found


def _own_callbacks(
    config: TrainConfig, evaluator: Evaluator, references: Mapping[str, EvalResult], run: RunDirectory
) -> Iterator[pl.Callback]:
    """Yield what happens after an epoch, in order; a checkpoint is written after all of it."""

    def score(module: pl.LightningModule) -> EvalResult:
        assert isinstance(module, FineTuner)
        here = replace(evaluator, device=module.device)  # the model stays on the device of the trainer
        title = f"Scoring epoch {module.current_epoch + 1}"
        return here.score({"model": module.eval_embedder}, "val", title)["model"]

    flatten = references["flatten"]
    retrieval = RetrievalCallback(score, config.monitor, reference=flatten)
    record = EpochRecord(retrieval, flatten, run)
    yield EpochBar(evaluator.console)  # first: the bar of the epoch is removed before the next one is drawn
    yield StopOnNonFiniteWeights(run)
    yield retrieval
    yield record
    yield EpochTable(record, references, evaluator.console)
    yield StopOnCollapse(retrieval, flatten, run)


def build_parts(config: TrainConfig, evaluator: Evaluator) -> Parts:
    """Build the module with its loss and optimizer, and the training images."""
    teacher_embeddings = embed_with_teacher(config, evaluator, Path(config.paths.cache).expanduser())
    torch.manual_seed(config.seed)  # again: computing the references may have drawn random numbers
    epochs = config.trainer["max_epochs"]
    images = TrainingData(evaluator.manifest, evaluator.splits, config.loader, config.recipe, epochs, config.seed)
    labels = evaluator.manifest.labels[evaluator.splits.train]
    embedder: Embedder = build(config.model, "model", config.allow)
    dimensions = embedder.loss_dimensions(config.loader.train_size)
    loss = _loss(config, classes=len(set(labels.tolist())), dimensions=dimensions)
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


def _loss(config: TrainConfig, classes: int, dimensions: int) -> MetricLoss | Matryoshka:
    def make(length: int) -> MetricLoss:
        made: MetricLoss = build(config.loss, "loss", config.allow, num_classes=classes, embedding_size=length)
        return made

    return matryoshka_loss(make, config.recipe.matryoshka, dimensions)
