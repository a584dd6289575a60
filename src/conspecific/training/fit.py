"""Fine-tuning: build the parts of a configuration, train them, and take the best epoch back."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from conspecific.config.run_directory import RunDirectory
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.models.heads import Whitened
from conspecific.training.datamodule import Pictures
from conspecific.training.expected import expected_warnings
from conspecific.training.hard_negatives import HardNegatives
from conspecific.training.loggers import Guarded
from conspecific.training.module import FineTuner
from conspecific.training.progress import EpochBar
from conspecific.training.record import save_weights
from conspecific.training.resume import load_checkpoint
from conspecific.training.retrieval import RetrievalCallback
from conspecific.training.shares import best_share
from conspecific.training.teacher import teach
from conspecific.training.views import cache_views
from conspecific.types import EvalResult


def fit(
    config: TrainConfig,
    evaluator: Evaluator,
    validation: Mapping[str, EvalResult],
    copies: polars.DataFrame,
    run: RunDirectory,
    resumed: Path | None,
) -> tuple[Embedder, EvalResult, dict[str, Any]]:
    """Train, load the best epoch's weights and save them.

    validation: the references. copies: pairs of sample ids that are one picture. resumed: the checkpoint to go on from.
    Returns the embedder, its validation result, and facts of the training: chosen_epoch, tuned_share (of the way from
    the weights before training to that epoch's), training_minutes.
    """
    began = time.perf_counter()
    module, pictures = build_parts(config, evaluator)
    if resumed is not None:
        begun = load_checkpoint(module, resumed)  # Lightning would do it too, without a message for people
        if config.recipe.tuned_shares and not run.start.is_file():
            raise RunError(f"{run.start} is missing, where recipe.tuned_shares begins: set it to [], or start anew")
        pictures.batches.set_epoch(begun["epoch"] + 1)  # its first batches are fetched before Lightning tells the epoch
    backbone = module.embedder.backbone
    if config.recipe.cached_views:
        pictures.cached = cache_views(backbone, pictures, evaluator, config)
    if resumed is None:
        _begin(module, pictures, config, evaluator)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        save_weights(module.embedder, run.start)
    evaluator = evaluator.encoded_once(backbone, "val", evaluator.splits.val.ids)
    callbacks: list[pl.Callback] = [RetrievalCallback(evaluator, validation, run, config.monitor)]
    if config.recipe.hard_negatives:
        training = evaluator.encoded_once(backbone, "train", evaluator.splits.train)
        callbacks.append(HardNegatives(training, copies, pictures.batches))
    trainer = _trainer(config, evaluator, callbacks, run)
    with expected_warnings():
        trainer.fit(module, datamodule=pictures, ckpt_path=resumed, weights_only=True)
    found = _chosen(module, trainer, config, evaluator, run)
    save_weights(found.embedder, run.weights)
    minutes = (time.perf_counter() - began) / 60
    facts = {"chosen_epoch": found.epoch, "tuned_share": found.share, "training_minutes": round(minutes, 2)}
    return found.embedder, found.validation, facts


class Chosen(NamedTuple):
    """What validation chose: an epoch's weights, or a share of the way to the last epoch's."""

    embedder: Embedder
    validation: EvalResult
    epoch: int
    share: float


def _chosen(
    module: FineTuner, trainer: pl.Trainer, config: TrainConfig, evaluator: Evaluator, run: RunDirectory
) -> Chosen:
    """The best epoch, or the best share of the way to the last where one is better than that."""
    between: Chosen | None = None
    last = trainer.current_epoch
    if config.recipe.tuned_shares:
        start = load_file(run.start)
        share, result, mixed = best_share(module.searched, start, config.recipe.tuned_shares, evaluator, config.monitor)
        between = Chosen(mixed, replace(result, facts={**result.facts, "epoch": last}), last, share)
    epoch = load_checkpoint(module, _best_checkpoint(trainer))["epoch"] + 1
    chosen = Chosen(module.searched, _chosen_validation(module.searched, epoch, evaluator, run), epoch, 1.0)
    if between and between.validation.metrics[config.monitor] > chosen.validation.metrics[config.monitor]:
        return between
    return chosen


def build_parts(config: TrainConfig, evaluator: Evaluator) -> tuple[FineTuner, Pictures]:
    """The module with its loss and optimizer, and the training pictures."""
    taught = teach(config, evaluator, Path(config.paths.cache).expanduser())
    torch.manual_seed(config.seed)  # again: computing the baseline draws numbers, taking it from the cache does not
    epochs = config.trainer["max_epochs"]
    pictures = Pictures(evaluator.manifest, evaluator.splits, config.loader, config.recipe, epochs, config.seed)
    labels = evaluator.manifest.labels[evaluator.splits.train]
    embedder: Embedder = build(config.model)
    loss = _loss(
        config, classes=len(set(labels.tolist())), dimensions=embedder.loss_dimensions(config.loader.train_size)
    )
    return FineTuner(embedder, loss, build(config.optimizer), labels, config.recipe, taught), pictures


def _loss(config: TrainConfig, classes: int, dimensions: int) -> MetricLoss | Matryoshka:
    def make(length: int) -> MetricLoss:
        made: MetricLoss = build(config.loss, num_classes=classes, embedding_size=length)
        return made

    beginnings = config.recipe.matryoshka
    if beginnings and max(beginnings) > dimensions:
        raise ConfigError(f"recipe.matryoshka={beginnings}, but an embedding has {dimensions} dimensions")
    return Matryoshka(make, sorted({*beginnings, dimensions})) if beginnings else make(dimensions)


def _begin(module: FineTuner, pictures: Pictures, config: TrainConfig, evaluator: Evaluator) -> None:
    """Give a whitened head its weights, and the loss each species' mean embedding, from the training pictures.

    Of cached views the first is taken, so that no picture is read again.
    """
    parts = module.embedder
    if not module.loss.imprinted and not isinstance(parts.head, Whitened):
        return
    pooling = Embedder(parts.backbone, parts.pooling, nn.Identity(), normalize=False, search_head=False)
    size, ids = config.loader.train_size, evaluator.splits.train
    kept = pictures.cached.values[size][0] if pictures.cached else None
    training = replace(evaluator, image_size=size)
    found = training.embed({"train": pooling}, ids, "Looking at the training pictures", kept)["train"]
    pooled, labels = torch.from_numpy(found.vectors), module.class_of_label.cpu()[torch.from_numpy(found.labels)]
    head = parts.head.cpu()
    if isinstance(head, Whitened):
        head.fit(pooled, labels)
    if module.loss.imprinted:
        with torch.no_grad():
            projected = F.normalize(head(pooled))
        sums = torch.zeros(int(labels.max()) + 1, projected.shape[1]).index_add_(0, labels, projected)
        module.loss.imprint(sums / torch.bincount(labels)[:, None])


def _trainer(config: TrainConfig, evaluator: Evaluator, own: Sequence[pl.Callback], run: RunDirectory) -> pl.Trainer:
    bar = EpochBar(evaluator.console)  # first, so that it has gone when the epoch is scored
    callbacks = [bar, *own, *(build(node) for node in config.callbacks.values())]
    options = dict(config.trainer)
    if options.get("precision") == "auto":
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        options["precision"] = "bf16-mixed" if bf16 else "32-true"
    loggers = [Guarded(build(node), name, evaluator.console) for name, node in config.logger.items()]
    for logger in loggers:
        logger.log_hyperparams(asdict(config))
    trainer: pl.Trainer = build(options, callbacks=callbacks, logger=loggers or False, default_root_dir=str(run.path))
    return trainer


def _best_checkpoint(trainer: pl.Trainer) -> Path:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        raise ConfigError("no checkpoint was kept: callbacks needs a ModelCheckpoint that monitors a val/ metric")
    return Path(path)


def _chosen_validation(embedder: Embedder, epoch: int, evaluator: Evaluator, run: RunDirectory) -> EvalResult:
    """The chosen epoch's validation result as the callback kept it, or scored anew where it is lost or of another."""
    stem = run.results / "val_model"
    if stem.with_suffix(".json").is_file() and (kept := EvalResult.load(stem)).facts["epoch"] == epoch:
        return kept
    scored = evaluator.score({"model": embedder}, "val", f"Scoring epoch {epoch} again")["model"]
    return replace(scored, facts={**scored.facts, "epoch": epoch})
