"""conspecific train: run a configuration, or several, and report."""

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from conspecific.cli.logged_console import LoggedConsole
from conspecific.cli.multirun import job_overrides, job_title
from conspecific.config.compose import explained, typed
from conspecific.config.location import config_dir
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConspecificError
from conspecific.reporting.run.run_report import report_run
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord
from conspecific.training.conclusion import Job, print_conclusion, print_multirun
from conspecific.training.train import train


def run(overrides: Sequence[str], multirun: bool) -> list[RunRecord]:
    """Compose with Hydra, run each job and return the records of those that trained.

    With `multirun` there can be several jobs; one that fails does not stop the others.
    """
    failures: list[ConspecificError] = []
    finished: list[Job] = []
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
        finished.append(Job.of(record, job_overrides(overrides)))
        return record.score

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised to here, where they become one sentence
    program, sys.argv = sys.argv, ["conspecific", *(["-m"] if multirun else []), *overrides]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(job)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, ValueError) and "Config group override" not in str(error):
            raise
        raise explained(error, "train", overrides) from error
    finally:
        sys.argv = program
    print_multirun(finished, Console(markup=False))
    if failures:
        raise failures[0]
    return records


def _job(config: DictConfig, title: str | None) -> RunRecord | None:
    """Run one configuration; title: its first line in a multirun. Returns None for a dry run."""
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    config.paths.run = str(run.path)
    try:
        with run.log.open("a", buffering=1) as log:
            console = LoggedConsole(log)
            if title is not None:
                console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
            overrides = list(HydraConfig.get().overrides.task)
            record = train(typed(config, TrainConfig), overrides, console, lambda made: report_run(made.directory))
            if record is not None:
                print_conclusion(record, console)
            return record
    except (KeyboardInterrupt, SystemExit) as stop:  # Lightning turns the one into the other
        again = shlex.join(["conspecific", "train", f"resume={run.path}"])
        raise KeyboardInterrupt(f"; to go on: {again}" if run.can_resume else "") from stop
    finally:
        if not run.config.exists():
            _discard(run)


def _discard(run: RunDirectory) -> None:
    """Take back a directory in which nothing was begun, and nothing that somebody else has put there."""
    run.log.unlink(missing_ok=True)
    for folder in (run.path / "logs", run.path, run.path.parent):
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()
