"""One run, from the manifest to the scored test split."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars
import pytorch_lightning as pl
from rich.console import Console

from conspecific.config.choices import check_choices
from conspecific.config.location import options
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build, build_each
from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest
from conspecific.data.splits import split
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator, device_for, references
from conspecific.images import workers_for
from conspecific.leaks.copies import find_copies
from conspecific.leaks.finding import find_leaks
from conspecific.leaks.image_hashes import image_hashes
from conspecific.leaks.policy import apply_policy
from conspecific.leaks.record import Leaks, describe
from conspecific.models import keep_freed_memory
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import peak_memory_gb
from conspecific.runs.record import Cost, Counts, RunRecord, finish_record, start_record
from conspecific.training.fit import Parts, Resumed, build_parts, fit
from conspecific.training.header import print_header
from conspecific.training.ignored import ignored_overrides
from conspecific.training.loggers import FailSafeLogger, log_test, open_loggers
from conspecific.training.resume import checkpoint_to_resume, load_state, require_same_images, update_paths
from conspecific.training.trainer import require_one_device


def train(
    config: TrainConfig,
    overrides: Sequence[str],
    console: Console,
    report: Callable[[RunRecord], object] | None = None,
) -> RunRecord | None:
    """Run one configuration into `config.paths.run` and return its record; None with `dry_run=true`.

    overrides: what the record says the command was. report: writes the report of a finished run into its directory;
    the loggers, which are still open then, get its path and its example images.
    """
    began = time.perf_counter()
    _prepare(config)
    assert config.paths.run is not None, "the caller makes the run directory"
    run, cache = RunDirectory(Path(config.paths.run)), Path(config.paths.cache).expanduser()
    checkpoint = checkpoint_to_resume(config)
    evaluator = _evaluator(config, cache, console)
    print_header(config, evaluator, console)
    for sentence in ignored_overrides(overrides, config):
        console.print(sentence, style="yellow", soft_wrap=True, highlight=False, markup=False)
    evaluator, leaks, contents, copies = _without_leaks(config, evaluator, cache)
    resumed = None
    if checkpoint is not None:  # nothing of the run is overwritten before all that can refuse it was asked
        require_same_images(run, evaluator.splits.table(evaluator.manifest, contents))
        resumed = Resumed(build_parts(config, evaluator), checkpoint.file, checkpoint.content["epoch"] + 1)
        load_state(resumed.parts.module, checkpoint)
    if config.dry_run:
        _try_everything(config, evaluator, resumed.parts if resumed else build_parts(config, evaluator))
        return None
    if checkpoint is not None:
        update_paths(checkpoint)
        del checkpoint  # the state of its optimizer takes as much memory as two models
    start_record(run, config, overrides, evaluator.fingerprint)
    evaluator.splits.save(run.splits, evaluator.manifest, contents)
    leaks.save(run.leaks)
    with open_loggers(config, console) as loggers:
        record = _train_and_test(config, evaluator, copies, run, loggers, resumed, began)
        log_test(loggers, record.test, record.best, record.gains)
        if report is not None:
            report(record)
            for logger in loggers:
                logger.log_report(run.report, sorted((run.path / "images").glob("*.png")))
    return record


def _train_and_test(
    config: TrainConfig,
    evaluator: Evaluator,
    copies: polars.DataFrame,
    run: RunDirectory,
    loggers: Sequence[FailSafeLogger],
    resumed: Resumed | None,
    began: float,
) -> RunRecord:
    """Score the references, train, score the test, and write the record. began: of the run, in `time.perf_counter`."""
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
    return finish_record(run, validation, test, selection and selection.weights, _counts(evaluator), cost)


def _prepare(config: TrainConfig) -> None:
    check_choices(config)
    for part in ("data", "model", "loss", "optimizer", "trainer"):
        if "_target_" not in getattr(config, part):
            choices = [f"{part}={name}" for name in options(part)]
            raise ConfigError(f"a run needs {part}: choose {' or '.join(choices)}")
    if (epochs := config.trainer.get("max_epochs")) is None or epochs < 0:
        raise ConfigError(f"trainer.max_epochs must be a number of epochs, 0 for the baseline alone; found {epochs}")
    for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # the header says which device is used
    require_one_device(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    keep_freed_memory()


def _evaluator(config: TrainConfig, cache: Path, console: Console) -> Evaluator:
    found: Manifest = build(config.data, "data", config.allow)
    manifest, fingerprint = check_manifest(found, cache)
    splits = split(manifest, config.protocol, **vars(config.split))
    loader = config.loader
    device, workers = device_for("auto"), workers_for(loader.workers)
    return Evaluator(manifest, splits, fingerprint, loader.image_size, workers, device, console, ks=config.metrics.ks)


def _without_leaks(
    config: TrainConfig, evaluator: Evaluator, cache: Path
) -> tuple[Evaluator, Leaks, Sequence[str], polars.DataFrame]:
    """Find images that several splits share and treat them as `leaks` says.

    Returns also a hash of the content of each image, and all pairs of sample ids that are the same image.
    """
    manifest, key, console = evaluator.manifest, evaluator.fingerprint, evaluator.console
    found = image_hashes(manifest, key, cache, evaluator.workers, console)
    copies = find_copies(manifest, key, found, cache, evaluator.device, console)
    leaks = find_leaks(copies, evaluator.splits, manifest, found)
    splits = apply_policy(config.leaks, leaks, evaluator.splits, manifest)
    style = "yellow" if leaks.pairs.height or leaks.species or leaks.two_species else None
    console.print(f"Leak check: {describe(leaks)}", style=style, soft_wrap=True, highlight=False, markup=False)
    return replace(evaluator, splits=splits), leaks, found.contents, copies


def _counts(evaluator: Evaluator) -> Counts:
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


def _try_everything(config: TrainConfig, evaluator: Evaluator, parts: Parts) -> None:
    """Build every part, compute the loss of one training batch, embed a few test images, and keep nothing."""
    module, images, _ = parts
    build_each(config.callbacks, "callbacks", config.allow)
    build_each(config.logger, "logger", config.allow)
    loader = images.train_dataloader()
    batch = next(iter(loader))
    loss = module.loss(module.embedder.project(batch["image"]), module.class_of_label[batch["label"]])
    evaluator.embed({"model": module.embedder}, evaluator.splits.test.ids[:4], "Trying the test images")
    counts = _counts(evaluator)
    evaluator.console.print(
        f"Dry run: {counts.train} training, {counts.val} validation and {counts.tested} test images "
        f"of {counts.species} species; loss of one batch {loss.item():.3f}. Everything fits; nothing was kept.",
        soft_wrap=True,
        highlight=False,
    )
