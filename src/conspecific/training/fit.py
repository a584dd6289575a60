"""Fine-tuning: build the parts of a configuration, train them, and take the best epoch back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import polars
import pytorch_lightning as pl
import torch

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build, build_each
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.training.epoch_bar import EpochBar
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.loggers import FailSafeLogger
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.training.recipe.cached_augmentations import cache_augmentations
from conspecific.training.recipe.distillation import embed_with_teacher
from conspecific.training.recipe.hard_negatives import HardNegatives
from conspecific.training.recipe.initialization import init_from_data, needs_training_images
from conspecific.training.recipe.matryoshka import matryoshka_loss
from conspecific.training.resume import load_checkpoint
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.training.selection import Selection, select
from conspecific.training.training_data import TrainingData
from conspecific.types import EvalResult


def fit(
    config: TrainConfig,
    evaluator: Evaluator,
    validation: Mapping[str, EvalResult],
    copies: polars.DataFrame,
    run: RunDirectory,
    resumed: Path | None,
) -> Selection:
    """Train, load the best epoch's weights and save them.

    validation: the references. copies: pairs of sample ids that are one image. resumed: the checkpoint to go on from.
    Returns the selected weights with their validation result.
    """
    module, images = build_parts(config, evaluator)
    if resumed is not None:
        begun = load_checkpoint(module, resumed)  # Lightning would do it too, without a message for people
        if config.recipe.wise_ft_alphas and not run.start.is_file():
            raise RunError(f"{run.start} is missing, where recipe.wise_ft_alphas begins: set it to [], or start anew")
        images.batches.set_epoch(begun["epoch"] + 1)  # its first batches are fetched before Lightning tells the epoch
    backbone = module.embedder.backbone
    if config.recipe.cached_augmentations:
        images.cached = cache_augmentations(backbone, images, evaluator, config)
    if needs_training_images(module) or config.recipe.hard_negatives:
        evaluator = evaluator.encoded_once(backbone, "train")
    if resumed is None:
        init_from_data(module, evaluator)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        save_weights(module.embedder, run.start)
    evaluator = evaluator.encoded_once(backbone, "val")
    callbacks: list[pl.Callback] = [RetrievalCallback(evaluator, validation, run, config.monitor)]
    if config.recipe.hard_negatives:
        callbacks.append(HardNegatives(evaluator, copies, images.batches))
    trainer = _trainer(config, evaluator, callbacks, run)
    with expected_warnings():
        trainer.fit(module, datamodule=images, ckpt_path=resumed, weights_only=True)
    found = select(module, _best_checkpoint(trainer), config, evaluator, run)
    save_weights(found.embedder, run.weights)
    return found


def build_parts(config: TrainConfig, evaluator: Evaluator) -> tuple[FineTuner, TrainingData]:
    """The module with its loss and optimizer, and the training images."""
    teacher_embeddings = embed_with_teacher(config, evaluator, Path(config.paths.cache).expanduser())
    torch.manual_seed(config.seed)  # again: computing the baseline draws numbers, taking it from the cache does not
    epochs = config.trainer["max_epochs"]
    images = TrainingData(evaluator.manifest, evaluator.splits, config.loader, config.recipe, epochs, config.seed)
    labels = evaluator.manifest.labels[evaluator.splits.train]
    embedder: Embedder = build(config.model, "model", config.allow)
    loss = _loss(
        config, classes=len(set(labels.tolist())), dimensions=embedder.loss_dimensions(config.loader.train_size)
    )
    optimizer: GroupedOptimizer = build(config.optimizer, "optimizer", config.allow)
    module = FineTuner(
        embedder, loss, labels, optimizer=optimizer, recipe=config.recipe, teacher_embeddings=teacher_embeddings
    )
    return module, images


def _loss(config: TrainConfig, classes: int, dimensions: int) -> MetricLoss | Matryoshka:
    def make(length: int) -> MetricLoss:
        made: MetricLoss = build(config.loss, "loss", config.allow, num_classes=classes, embedding_size=length)
        return made

    return matryoshka_loss(make, config.recipe.matryoshka, dimensions)


def _trainer(config: TrainConfig, evaluator: Evaluator, own: Sequence[pl.Callback], run: RunDirectory) -> pl.Trainer:
    bar = EpochBar(evaluator.console)  # first, so that it has gone when the epoch is scored
    callbacks = [bar, *own, *build_each(config.callbacks, "callbacks", config.allow).values()]
    options = dict(config.trainer)
    if options.get("precision") == "auto":
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        options["precision"] = "bf16-mixed" if bf16 else "32-true"
    built = build_each(config.logger, "logger", config.allow)
    loggers = [FailSafeLogger(logger, name, evaluator.console) for name, logger in built.items()]
    for logger in loggers:
        logger.log_hyperparams(asdict(config))
    made = {"callbacks": callbacks, "logger": loggers or False, "default_root_dir": str(run.path)}
    trainer: pl.Trainer = build(options, "trainer", config.allow, **made)
    return trainer


def _best_checkpoint(trainer: pl.Trainer) -> Path:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        raise ConfigError("no checkpoint was kept: callbacks needs a ModelCheckpoint that monitors a val/ metric")
    return Path(path)
