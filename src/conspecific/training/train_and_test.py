"""What a run computes, from the references to the test."""

import time
from collections.abc import Sequence
from pathlib import Path

import polars

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator, references
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import peak_memory_gb
from conspecific.runs.record import Cost, Counts, RunRecord, finish_record
from conspecific.training.fit import Resumed, fit
from conspecific.training.loggers import FailSafeLogger


def train_and_test(
    config: TrainConfig,
    evaluator: Evaluator,
    copies: polars.DataFrame,
    run: RunDirectory,
    loggers: Sequence[FailSafeLogger],
    resumed: Resumed | None,
    began: float | None = None,
) -> RunRecord:
    """Score the references, train, score the test, and write the record.

    began: of the run, in `time.perf_counter`; None: now.
    """
    began = time.perf_counter() if began is None else began
    cache = Path(config.paths.cache).expanduser()
    network = config.model["backbone"], config.model["weights"]
    validation = dict(references(evaluator, "val", *network, cache))
    selection, minutes = None, 0.0
    if config.trainer["max_epochs"] != 0:
        training_began = time.perf_counter()
        selection = fit(config, evaluator, validation, copies, run, loggers, resumed)
        validation["model"], minutes = selection.validation, (time.perf_counter() - training_began) / 60
    test = dict(references(evaluator, "test", *network, cache))
    if selection is not None:
        test |= evaluator.score({"model": selection.embedder}, "test", "Scoring the test images")
    cost = Cost(round((time.perf_counter() - began) / 60, 2), round(minutes, 2), round(peak_memory_gb(), 2))
    return finish_record(run, validation, test, selection and selection.weights, count_images(evaluator), cost)


def count_images(evaluator: Evaluator) -> Counts:
    """Return the numbers of images and species of a run."""
    manifest, splits = evaluator.manifest, evaluator.splits
    return Counts(
        data_root=str(manifest.root),
        images=len(manifest),
        species=len(manifest.species),
        train=len(splits.train),
        val=len(splits.val.ids),
        tested=len(splits.test.ids),
        unreadable=manifest.unreadable,
    )
