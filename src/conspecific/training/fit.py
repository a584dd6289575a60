"""Fine-tuning: train, score every epoch, and select the weights to keep."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger

from conspecific.config.overrides import override
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build_each
from conspecific.errors import ConfigError, ImageError
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights, read_epochs
from conspecific.runs.within_species import write_within_species
from conspecific.training.candidates import Start, Trained
from conspecific.training.epoch_bar import EpochBar
from conspecific.training.epoch_record import EpochRecord
from conspecific.training.epoch_table import EpochTable
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.folds import everything, folds_of, trains_again
from conspecific.training.parts import Parts, prepare, train_unwatched
from conspecific.training.random_states import SeedSteps
from conspecific.training.recipe.hard_negatives import HardNegatives
from conspecific.training.recipe.initialization import init_from_data
from conspecific.training.reference_lines import ReferenceLines
from conspecific.training.resume import load_checkpoint
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.training.selection import Division, select
from conspecific.training.stopping import KeepFailedBatch, StopOnCollapse, StopOnNonFiniteWeights, naming_failed_batch
from conspecific.training.trainer import best_checkpoint, build_trainer
from conspecific.types import EvalResult


class Kept(NamedTuple):
    """What a run keeps: the embedder, its result on validation, which weights it has, and `Choice.start`.

    evaluator: with the images that it was trained on.
    """

    embedder: Embedder
    validation: EvalResult
    weights: SelectedWeights
    start: Mapping[str, float]
    evaluator: Evaluator


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
) -> Kept:
    """Train, select what validation finds best, save its weights, and return it.

    references: results on validation by name. copies: pairs of sample ids that are the same image. loggers: they stay
    open. resumed: None for a new run.
    """
    module, images, random_state = parts
    torch.set_rng_state(random_state)  # references were scored since the parts were built
    if resumed is not None:
        images.batches.set_epoch(resumed.epochs)  # batches are prefetched before Lightning sets the epoch
    evaluator = prepare(config, evaluator, parts)
    if resumed is None:
        Start.of(module.embedder, init_from_data(module, evaluator)).save(run)
    evaluator = evaluator.encoded_once(module.embedder.backbone, "val")
    callbacks = [*_own_callbacks(config, evaluator, references, run)]
    if config.recipe.hard_negatives:
        callbacks.append(HardNegatives(evaluator, copies, images.batches))
    callbacks += build_each(config.callbacks, "callbacks", config.allow).values()
    trainer = build_trainer(config, callbacks=callbacks, logger=list(loggers) or False, default_root_dir=str(run.path))
    try:
        with expected_warnings(), naming_failed_batch(run):
            trainer.fit(module, datamodule=images, ckpt_path=resumed and resumed.checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(f"Lightning refuses the trainer or a callback: {error}") from error
    except ImageError as error:
        reason = str(error).strip().splitlines()[-1].rpartition("ImageError: ")[2]  # below the trace of a worker
        again = f"restore it, then go on with {override('resume', str(run.path))}"
        raise ImageError(f"{reason}. It could be read when the run began: {again}") from error
    kept = _selected(_trained(module, best_checkpoint(trainer), run), config, evaluator, copies)
    save_weights(kept.embedder, run.weights, is_pooled_reference=kept.weights.pooled_reference)
    write_within_species(run, kept.embedder, kept.evaluator)
    return kept


def _trained(module: FineTuner, best: Path, run: RunDirectory) -> Trained:
    """Return what training made; the weights of the best epoch are loaded into the module."""
    ended = copy.deepcopy(module.eval_embedder)
    epoch = load_checkpoint(module, best)["epoch"] + 1
    return Trained(Start.load(run), ended, read_epochs(run)[-1].epoch, (epoch, module.eval_embedder))


def _selected(trained: Trained, config: TrainConfig, evaluator: Evaluator, copies: polars.DataFrame) -> Kept:
    """Select what is kept; where images are few, by folds, and then train it on all of them."""
    splits, asked = evaluator.splits, config.recipe.folds
    if asked is None and (evaluator.manifest.table["split"] == "val").any():
        asked = 0  # who names validation images does not want them trained on
    if not trains_again(splits, asked):
        weights, validation, start = select([Division(trained, evaluator)], config)
        return Kept(trained.embedder(weights, evaluator), validation, weights, start, evaluator)
    whole = replace(trained, best=None)  # the best epoch of one fold is not that of another
    divisions = _divisions(whole, config, evaluator, copies, asked)
    weights, validation, start = select(divisions, config, Division(whole, evaluator))
    ids, final, here = everything(splits), whole, evaluator
    if not weights.pooled_reference:
        here = replace(evaluator, splits=replace(splits, train=ids))
        epochs = trained.epochs if weights.is_trained else 0
        final, here = train_unwatched(config, here, copies, epochs, f"Training on all {len(ids)} images, epoch")
    return Kept(final.embedder(weights, here), validation, replace(weights, folds=len(divisions)), start, here)


def _divisions(
    trained: Trained, config: TrainConfig, evaluator: Evaluator, copies: polars.DataFrame, asked: int | None
) -> list[Division]:
    """Train on every fold but that of the run, of which `trained` is made."""
    manifest = evaluator.manifest
    groups = manifest.groups if manifest.grouped else None
    folds, divisions = folds_of(evaluator.splits, manifest.labels, asked, groups), []
    for number, fold in enumerate(folds, 1):
        if fold is evaluator.splits:
            divisions.append(Division(trained, evaluator))
            continue
        here, title = (
            replace(evaluator, splits=fold).without_activations("val"),
            f"Fold {number} of {len(folds)}, epoch",
        )
        divisions.append(Division(*train_unwatched(config, here, copies, trained.epochs, title)))
    return divisions


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
    yield SeedSteps(config.seed)
    yield KeepFailedBatch(run)
    yield EpochBar(evaluator.console)  # first: the bar of the epoch is removed before the next one is drawn
    yield StopOnNonFiniteWeights(run)
    yield retrieval
    yield ReferenceLines(references, config.monitor)
    yield record
    yield EpochTable(record, references, evaluator.console)
    yield StopOnCollapse(retrieval, flatten, run)
