"""What a run computes, from the references to the test."""

import time
from collections.abc import Sequence
from pathlib import Path

import polars

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator, references
from conspecific.evaluation.baseline import REFERENCES, untrained
from conspecific.evaluation.projection import write_map
from conspecific.models import Backbone, flatten_baseline
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import peak_memory_gb
from conspecific.runs.record import Cost, Counts, RunRecord, finish_record
from conspecific.training.fit import Resumed, fit
from conspecific.training.loggers import FailSafeLogger
from conspecific.training.parts import build_parts


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
    network = config.model["backbone"], config.model["weights"], cache, config.model.get("trainable_stages")
    selection, minutes, start = None, 0.0, None
    if config.trainer["max_epochs"] == 0:
        validation, test = (dict(references(evaluator, name, *network)) for name in ("val", "test"))
        before = pretrained(config)
        origin = before.origin
        mapped = {name: make(before) for name, make in REFERENCES.items()}
        write_map(run.embedding_map, evaluator, mapped, evaluator.encoder(before))
    else:
        parts = build_parts(config, evaluator) if resumed is None else resumed.parts
        origin = parts.module.embedder.backbone.origin
        if origin is not None and origin.source != "timm":
            evaluator.console.print(f"Pretrained weights: {origin}", soft_wrap=True, highlight=False, markup=False)
        # each image goes through the frozen stages once: for the references, every epoch and the final scores
        evaluator = evaluator.encoded_once(parts.module.embedder.backbone, "val")
        validation = dict(references(evaluator, "val", *network))
        training_began = time.perf_counter()
        with evaluator.phases.measure("training"):
            selection = fit(config, evaluator, parts, validation, copies, run, loggers, resumed)
        validation["model"], start = selection.validation, selection.start
        minutes = (time.perf_counter() - training_began) / 60
        evaluator = evaluator.encoded_once(selection.embedder.backbone, "test")
        test = dict(references(evaluator, "test", *network))
        test |= evaluator.score({"model": selection.embedder}, "test", "Scoring the test images")
        mapped = {"flatten": flatten_baseline(pretrained(config)), "model": selection.embedder}
        write_map(run.embedding_map, evaluator, mapped)
    whole, peak = (time.perf_counter() - began) / 60, peak_memory_gb()
    cost = Cost(round(whole, 2), round(minutes, 2), round(peak, 2), evaluator.phases.rounded())
    weights, counts = selection and selection.weights, count_images(evaluator)
    return finish_record(run, validation, test, weights, counts, cost, start, str(origin or ""))


def pretrained(config: TrainConfig) -> Backbone:
    """Return the backbone as it was before training, split where that of the model is."""
    return untrained(config.model["backbone"], config.model["weights"], config.model.get("trainable_stages"))


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
        corrections=manifest.corrections,
    )
