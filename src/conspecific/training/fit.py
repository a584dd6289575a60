"""Fine-tuning: build the parts of a configuration, train them, and take the best epoch back."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from conspecific.config.run_directory import RunDirectory
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder
from conspecific.training.datamodule import Pictures
from conspecific.training.expected import expected_warnings
from conspecific.training.loggers import Guarded
from conspecific.training.module import FineTuner
from conspecific.training.progress import EpochBar
from conspecific.training.record import save_weights
from conspecific.training.resume import load_checkpoint
from conspecific.training.retrieval import RetrievalCallback
from conspecific.types import EvalResult


def fit(
    config: TrainConfig,
    evaluator: Evaluator,
    validation: Mapping[str, EvalResult],
    run: RunDirectory,
    resumed: Path | None,
) -> tuple[Embedder, EvalResult, dict[str, Any]]:
    """Train, load the best epoch's weights and save them.

    validation: the references. resumed: the checkpoint to go on from. Returns the embedder, its validation result, and
    what is to be known of the training: chosen_epoch, training_minutes.
    """
    module, pictures = build_parts(config, evaluator)
    if resumed is not None:
        begun = load_checkpoint(module, resumed)  # Lightning would do it too, without a message for people
        pictures.batches.set_epoch(begun["epoch"] + 1)  # its first batches are fetched before Lightning tells the epoch
    began = time.perf_counter()
    if resumed is None and module.loss.imprinted:
        _imprint(module, config, evaluator)
    trainer = _trainer(config, evaluator, validation, run)
    with expected_warnings():
        trainer.fit(module, datamodule=pictures, ckpt_path=resumed, weights_only=True)
    minutes = (time.perf_counter() - began) / 60
    best = load_checkpoint(module, _best_checkpoint(trainer))
    save_weights(module.embedder, run.weights)
    epoch = best["epoch"] + 1
    chosen = _chosen_validation(module.embedder, epoch, evaluator, run)
    return module.embedder, chosen, {"chosen_epoch": epoch, "training_minutes": round(minutes, 2)}


def build_parts(config: TrainConfig, evaluator: Evaluator) -> tuple[FineTuner, Pictures]:
    """The module with its loss and optimizer, and the training pictures."""
    torch.manual_seed(config.seed)  # again: computing the baseline draws numbers, taking it from the cache does not
    pictures = Pictures(evaluator.manifest, evaluator.splits, config.loader, config.seed)
    labels = evaluator.manifest.labels[evaluator.splits.train]
    embedder: Embedder = build(config.model)
    dimensions = embedder.loss_dimensions(config.loader.train_size)
    loss = build(config.loss, num_classes=len(set(labels.tolist())), embedding_size=dimensions)
    return FineTuner(embedder, loss, build(config.optimizer), labels), pictures


def _imprint(module: FineTuner, config: TrainConfig, evaluator: Evaluator) -> None:
    """Embed the training pictures as they are and give the loss each species' mean."""
    parts = module.embedder
    projector = Embedder(parts.backbone, parts.pooling, parts.head, normalize=True, search_head=True)
    training = replace(evaluator, image_size=config.loader.train_size)
    found = training.embed({"train": projector}, evaluator.splits.train, "Imprinting the species")["train"]
    classes = module.class_of_label[torch.from_numpy(found.labels)]
    sums = torch.zeros(int(classes.max()) + 1, found.vectors.shape[1])
    sums.index_add_(0, classes, torch.from_numpy(found.vectors))
    module.loss.imprint(sums / torch.bincount(classes)[:, None])


def _trainer(
    config: TrainConfig, evaluator: Evaluator, validation: Mapping[str, EvalResult], run: RunDirectory
) -> pl.Trainer:
    callbacks = [
        EpochBar(evaluator.console),  # first, so that it has gone when the epoch is scored
        RetrievalCallback(evaluator, validation, run, config.monitor),
        *(build(node) for node in config.callbacks.values()),
    ]
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
