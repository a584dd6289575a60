"""A dry run: everything that a run does, with a few images and in a folder that is removed."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars
from rich.console import Console

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build_each
from conspecific.data.splits import Subset
from conspecific.encoding import Encoders, KeptActivations
from conspecific.evaluation import Evaluator
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, start_record
from conspecific.training.train_and_test import train_and_test
from conspecific.types import IntArray

SPECIES, IMAGES = 8, 3  # that are scored, and of each of them
LENGTHS = frozenset({"max_steps", "max_time", "min_epochs", "min_steps", "overfit_batches"})  # of the trainer
INTERVALS = frozenset({"every_n_epochs", "every_n_train_steps", "train_time_interval"})  # of a ModelCheckpoint


def try_everything(config: TrainConfig, evaluator: Evaluator, copies: polars.DataFrame) -> RunRecord:
    """Train an epoch on the species of a batch, score a few images, and return the record of that. Nothing is kept."""
    build_each(config.logger, "logger", config.allow)
    labels, splits, loader = evaluator.manifest.labels, evaluator.splits, config.loader
    species = np.unique(labels[splits.train])[: loader.classes_per_batch]
    few = replace(
        splits,
        train=_first(splits.train, labels, species, max(2, loader.samples_per_class)),
        val=_few(splits.val, labels),
        test=_few(splits.test, labels),
    )
    with TemporaryDirectory(prefix="conspecific-") as folder:
        run = RunDirectory(Path(folder))
        short = _shortened(config, run.path)
        start_record(run, short, [], evaluator.fingerprint)
        quiet = replace(evaluator, splits=few, console=Console(quiet=True), encoders=Encoders(), kept=KeptActivations())
        quiet = replace(quiet, exclude_group=False)  # so few images may all be of one group
        return train_and_test(short, quiet, copies, run, loggers=[], resumed=None)


def _first(ids: IntArray, labels: IntArray, species: IntArray, count: int) -> IntArray:
    """Return the first `count` ids of each species."""
    return np.concatenate([ids[labels[ids] == number][:count] for number in species])


def _few(subset: Subset, labels: IntArray) -> Subset:
    """Return the first images of a few species that have a positive."""
    found = subset.query[subset.count_positives(labels) > 0]
    species = np.unique(labels[found])[:SPECIES]
    return Subset(_first(found, labels, species, IMAGES), _first(subset.gallery, labels, species, IMAGES))


def _shortened(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return a copy with an epoch, two where crops grow, that writes into `folder` only.

    Checks of keys against the number of epochs were made with the real one.
    """
    short = copy.copy(config)
    epochs = 1 if config.recipe.initial_size is None else 2
    kept = {key: value for key, value in config.trainer.items() if key not in LENGTHS}
    short.trainer = {
        **kept,
        "max_epochs": min(epochs, config.trainer["max_epochs"]),
        "limit_train_batches": 1,
    }
    short.recipe = replace(config.recipe, cached_augmentations=min(2, config.recipe.cached_augmentations))
    short.paths = replace(config.paths, run=str(folder), cache=str(folder / "cache"))
    short.callbacks = {name: _moved(node, str(config.paths.run), folder) for name, node in config.callbacks.items()}
    return short


def _moved(node: Mapping[str, Any], run: str, folder: Path) -> dict[str, Any]:
    """Return a callback with its folders inside `folder`."""
    moved = {
        key: value.replace(run, str(folder), 1) if isinstance(value, str) else value
        for key, value in node.items()
        if key not in INTERVALS
    }
    return moved | ({"dirpath": str(folder / "checkpoints")} if "dirpath" in node else {})
