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
from conspecific.data.check import check_manifest
from conspecific.data.corrections import load_manifest
from conspecific.data.splits import split
from conspecific.encoding import Encoders, KeptActivations
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator, device_for
from conspecific.files import remove_old_abandoned
from conspecific.images import workers_for
from conspecific.leaks.copies import find_copies
from conspecific.leaks.finding import find_leaks
from conspecific.leaks.image_hashes import image_hashes
from conspecific.leaks.policy import apply_policy
from conspecific.leaks.record import Leaks, describe
from conspecific.models import keep_freed_memory
from conspecific.progress import Phases
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, add_to_summary, discard_end, end_record, read_record, start_record
from conspecific.runs.verdict import verdict
from conspecific.training.dry_run import try_everything
from conspecific.training.final import make_final
from conspecific.training.fit import Resumed
from conspecific.training.header import print_header
from conspecific.training.ignored import ignored_overrides
from conspecific.training.loggers import FailSafeLogger, log_test, open_loggers
from conspecific.training.parts import build_parts
from conspecific.training.resume import (
    checkpoint_to_resume,
    is_scored,
    load_state,
    require_same_images,
    update_paths,
)
from conspecific.training.train_and_test import count_images, train_and_test
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
    remove_old_abandoned(cache)
    checkpoint, phases, scored = checkpoint_to_resume(config, console), Phases(), is_scored(config)
    evaluator = _evaluator(config, cache, console, phases)
    print_header(config, evaluator, console)
    for sentence in ignored_overrides(overrides, config):
        console.print(sentence, style="yellow", soft_wrap=True, highlight=False, markup=False)
    with phases.measure("reading"):
        evaluator, leaks, contents, copies = _without_leaks(config, evaluator, cache)
    resumed = None
    if checkpoint is not None:  # nothing of the run is overwritten before all that can refuse it was asked
        require_same_images(run, evaluator.splits.table(evaluator.manifest, contents))
    if checkpoint is not None and not scored:
        resumed = Resumed(build_parts(config, evaluator), checkpoint.file, checkpoint.epochs)
        load_state(resumed.parts.module, checkpoint)
    if config.dry_run:
        if config.trainer["max_epochs"] != 0 and resumed is None:
            build_parts(config, evaluator)  # what does not fit all the images is named here
        _print_dry_run(evaluator, try_everything(config, evaluator, copies))
        return None
    steps = 0
    if checkpoint is not None:
        steps = checkpoint.content["global_step"]
        update_paths(checkpoint)
        del checkpoint  # the state of its optimizer takes as much memory as two models
    if not scored:
        discard_end(run)
        start_record(run, config, overrides, evaluator.fingerprint)
        evaluator.splits.save(run.splits, evaluator.manifest, contents)
        leaks.save(run.leaks)
    with open_loggers(config, console, steps, scored=scored) as loggers:
        if scored:
            record = read_record(run.path)
            phases.add(record.cost.seconds)
        else:
            record = train_and_test(config, evaluator, copies, run, loggers, resumed, began)
        return _finish(record, config, evaluator, copies, loggers, report)


def _finish(
    record: RunRecord,
    config: TrainConfig,
    evaluator: Evaluator,
    copies: polars.DataFrame,
    loggers: Sequence[FailSafeLogger],
    report: Callable[[RunRecord], object] | None,
) -> RunRecord:
    """Do what comes after the test, and what of it a run that was cut off there had not done."""
    run, phases = record.directory, evaluator.phases
    if judged := verdict(record):
        add_to_summary(record, outcome=judged.outcome, verdict=str(judged))
    log_test(loggers, record.test, record.best, record.gains)
    for logger in loggers:
        logger.log_outcome(record)
    if config.final and not run.final.config.is_file():
        with phases.measure("training"):
            make_final(record, config, evaluator, copies)
    if report is not None:
        with phases.measure("report"):
            report(record)
        for logger in loggers:
            logger.log_report(run.report, sorted(run.images.glob("query-*.png")))
    return end_record(record, phases.rounded())


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


def _evaluator(config: TrainConfig, cache: Path, console: Console, phases: Phases) -> Evaluator:
    with phases.measure("reading"):
        manifest, fingerprint = check_manifest(load_manifest(config.data, config.allow), cache)
    splits = split(manifest, config.protocol, **vars(config.split), exclude_group=config.exclude_group)
    loader = config.loader
    device, workers = device_for("auto"), workers_for(loader.workers)
    encoders = Encoders.of(config.encode, device, cache, console)
    return Evaluator(
        manifest,
        splits,
        fingerprint,
        loader.image_size,
        workers,
        device,
        console,
        ks=config.metrics.ks,
        encoders=encoders,
        phases=phases,
        kept=KeptActivations(cache / "activations", encoders.say),
        exclude_group=config.exclude_group,
    )


def _without_leaks(
    config: TrainConfig, evaluator: Evaluator, cache: Path
) -> tuple[Evaluator, Leaks, Sequence[str], polars.DataFrame]:
    """Find images that several splits share and treat them as `leaks` says.

    Returns also a hash of the content of each image, and all pairs of sample ids that are the same image.
    """
    manifest, key, console = evaluator.manifest, evaluator.fingerprint, evaluator.console
    found = image_hashes(manifest, key, cache, evaluator.workers, console)
    copies = find_copies(manifest, key, found, cache, evaluator.encoders, console)
    leaks = find_leaks(copies, evaluator.splits, manifest, found)
    splits = apply_policy(config.leaks, leaks, evaluator.splits, manifest)
    style = "yellow" if leaks.pairs.height or leaks.species or leaks.two_species else None
    console.print(f"Leak check: {describe(leaks)}", style=style, soft_wrap=True, highlight=False, markup=False)
    return replace(evaluator, splits=splits, contents=found.contents), leaks, found.contents, copies


def _print_dry_run(evaluator: Evaluator, record: RunRecord) -> None:
    counts = count_images(evaluator)
    loss = f"; loss of one epoch of a few images {record.epochs[0].loss:.3f}" if record.epochs else ""
    evaluator.console.print(
        f"Dry run: {counts.train} training, {counts.val} validation and {counts.tested} test images of "
        f"{counts.species} species{loss}. Everything fits; nothing was kept.",
        soft_wrap=True,
        highlight=False,
    )
