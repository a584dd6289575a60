"""conspecific train: run a configuration, or several, and report."""

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from conspecific.cli.arguments import each_value
from conspecific.cli.interrupts import interruptible
from conspecific.cli.logged_console import LoggedConsole
from conspecific.cli.multirun import differing_overrides, job_title
from conspecific.config.compose import compose_config, explained, folder_of_run, typed
from conspecific.config.location import config_dir
from conspecific.config.overrides import override
from conspecific.config.places import absolute_override, writing
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError, ConspecificError, RunError
from conspecific.files import remove_abandoned_files
from conspecific.reporting.run.report import report_run
from conspecific.runs.directory import RunDirectory, claim, make_new_folder
from conspecific.runs.record import RunRecord, has_ended, read_record
from conspecific.runs.tested import runs_in
from conspecific.tables import PlainConsole
from conspecific.training.conclusion import Job, print_conclusion, print_multirun
from conspecific.training.train import train


def run(overrides: Sequence[str], multirun: bool) -> list[RunRecord]:
    """Compose with Hydra, run each job and return the records of those that trained.

    With `multirun` there can be several jobs; one that fails does not stop the others.
    """
    overrides = [absolute_override(text) for text in overrides]
    failures: list[ConspecificError] = []
    records: list[RunRecord] = []

    def job(config: DictConfig) -> float | None:
        try:
            record = _job(config, job_title(overrides))
        except ConspecificError as error:  # Hydra would print a line of its own
            failures.append(error)
            return None
        if record is None:
            return None
        records.append(record)
        return record.score

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised to here, where they become one sentence
    folder = _folder(overrides, multirun)
    place = override(f"hydra.{'sweep' if multirun else 'run'}.dir", str(folder))
    program, sys.argv = sys.argv, ["conspecific", *(["-m"] if multirun else []), *overrides, place]
    try:
        with _callers_logging():
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(job)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, ValueError) and "Config group override" not in str(error):
            raise
        raise explained(error, "train", overrides) from error
    finally:
        sys.argv = program
        _remove_empty(folder, folder.parent)
    if multirun:
        print_multirun(_all_jobs(folder, records, overrides), PlainConsole())
    if failures:
        raise failures[0]
    return records


@contextmanager
def _callers_logging() -> Iterator[None]:
    """Give the root logger its handlers and level back, in place of which Hydra sets a file of the run."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def _folder(overrides: Sequence[str], multirun: bool) -> Path:
    """Return the folder of the run or multirun: the one that the overrides name, else a new one of its own."""
    key = f"hydra.{'sweep' if multirun else 'run'}.dir"
    first = next(each_value(overrides)) if multirun else overrides
    folder = folder_of_run(first, multirun)
    config = compose_config("train", first)
    if any(text.lstrip("+").partition("=")[0] == key for text in overrides):
        config.paths.run = str(folder)
        with writing(config):
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    with writing(config):
        return make_new_folder(folder)


def _all_jobs(folder: Path, records: Sequence[RunRecord], overrides: Sequence[str]) -> list[Job]:
    """Return the finished jobs of a multirun, those of earlier sessions in its folder included."""
    found = {record.path: record for record in records}
    earlier = [path for path in runs_in(folder) if path not in found and RunDirectory(path).summary.is_file()]
    return [
        Job.of(record, " ".join(differing_overrides(shlex.split(record.environment.command)[2:], overrides)))
        for record in (*records, *map(read_record, earlier))
    ]


def _job(config: DictConfig, title: str | None) -> RunRecord | None:
    """Run one configuration; title: its first line in a multirun. Returns None for a dry run."""
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    config.paths.run = str(run.path)
    with run.log.open("a", buffering=1) as log:
        claim(run, log)
        if run.config.exists() and config.resume is None:
            raise RunError(
                f"{run.path} holds a run already: give another hydra.run.dir, or hydra.sweep.dir with -m, or continue "
                f"that run with resume={run.path}"
            )
        return _interruptible_run(config, run, LoggedConsole(log), title)


def _interruptible_run(
    config: DictConfig, run: RunDirectory, console: LoggedConsole, title: str | None
) -> RunRecord | None:
    """Run it; say how to go on where it is interrupted, or the disk is full."""
    with interruptible() as signals:
        try:
            return _run_logged(config, run, console, title)
        except BaseException as stop:  # what a signal breaks in workers and libraries is no error of the run
            if signals or isinstance(stop, (KeyboardInterrupt, SystemExit)):  # Lightning exits on the former
                by = f" by {signals[0]}" if signals else ""
                raise KeyboardInterrupt(f"{by}{_how_to_go_on(run)}") from stop
            if isinstance(stop, ConfigError) and isinstance(stop.__cause__, OSError):  # such as a full disk
                raise ConfigError(f"{stop}{_how_to_go_on(run)}") from stop
            raise
        finally:
            if not run.config.exists():
                _discard(run)


def _how_to_go_on(run: RunDirectory) -> str:
    if not run.can_resume or has_ended(run):
        return ""
    return f"; to go on: {shlex.join(['conspecific', 'train', f'resume={run.path}'])}"


def _run_logged(config: DictConfig, run: RunDirectory, console: LoggedConsole, title: str | None) -> RunRecord | None:
    if config.resume is not None:
        remove_abandoned_files(*run.of_training)
    if title is not None:
        console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    overrides = [absolute_override(text) for text in HydraConfig.get().overrides.task]
    built = typed(config, TrainConfig)
    with writing(built):
        record = train(built, overrides, console, lambda made: report_run(made.directory))
    if record is not None:
        print_conclusion(record, console)
    return record


def _discard(run: RunDirectory) -> None:
    """Take back a directory in which nothing was begun, and nothing that somebody else has put there."""
    run.log.unlink(missing_ok=True)
    _remove_empty(run.path / "logs", run.path, run.path.parent)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()
