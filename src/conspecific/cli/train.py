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
from conspecific.config.overrides import literal, override, overrides_of_run
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError, ConspecificError, RunError
from conspecific.reporting.run.run_report import report_run
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord
from conspecific.training.conclusion import Job, print_conclusion, print_multirun
from conspecific.training.train import train


def run(arguments: Sequence[str]) -> list[RunRecord]:
    """Compose with Hydra and run each job; `-m` runs several, the others also if one fails. Returns their records."""
    given = [literal(text) for text in _resumed(arguments)]
    failures: list[ConspecificError] = []
    finished: list[Job] = []
    records: list[RunRecord] = []

    def job(config: DictConfig) -> float | None:
        try:
            record = _job(config, job_title(given))
        except ConspecificError as error:  # Hydra would print a line of its own
            failures.append(error)
            return None
        if record is None:
            return None
        records.append(record)
        finished.append(Job.of(record, job_overrides(given)))
        return record.score

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us; what users can mend is told in a sentence
    program, sys.argv = sys.argv, ["conspecific", *given]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(job)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, ValueError) and "Config group override" not in str(error):
            raise
        raise explained(error, "train", [text for text in given if "=" in text]) from error
    finally:
        sys.argv = program
    print_multirun(finished, Console())
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


def _resumed(arguments: Sequence[str]) -> list[str]:
    """Repeat the overrides of the run that `resume=RUN` names, then the new ones, in its directory."""
    named = [text.partition("=")[2].strip("'\"") for text in arguments if text.startswith("resume=")]
    if not named:
        return list(arguments)
    if {"-m", "--multirun"} & set(arguments):
        raise ConfigError("resume=RUN continues one run: leave -m away")
    run = RunDirectory(Path(named[-1]).expanduser())
    if not run.can_resume:
        raise RunError(f"{run.path} cannot be resumed: it has no checkpoints/last.ckpt and overrides.yaml. Start anew.")
    before = overrides_of_run(run.overrides)
    new = [text for text in arguments if not text.startswith("resume=")]
    return [*before, *new, override("resume", str(run.path)), override("hydra.run.dir", str(run.path))]
