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

from conspecific.cli.logged_console import LoggedConsole
from conspecific.config.compose import explained, typed
from conspecific.config.location import config_dir
from conspecific.config.overrides import literal, override, overrides_of_run
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError, ConspecificError, RunError
from conspecific.evaluation import leave_out
from conspecific.evaluation.tables import difference_table
from conspecific.reporting.run.run_report import report_run
from conspecific.reporting.run.subject import Subject
from conspecific.runs.directory import RunDirectory
from conspecific.training.train import train


def run(arguments: Sequence[str]) -> None:
    """Compose with Hydra and run each job; `-m` runs several, the others also where one fails."""
    given = [literal(text) for text in _resumed(arguments)]
    failures: list[ConspecificError] = []

    def job(config: DictConfig) -> float | None:
        try:
            return _job(config)
        except ConspecificError as error:  # Hydra would print a line of its own
            failures.append(error)
            return None

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
    if failures:
        raise failures[0]


def _job(config: DictConfig) -> float | None:
    """One run. Returns the monitored validation metric, which sweepers maximise."""
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    config.paths.run = str(run.path)
    try:
        with run.log.open("a", buffering=1) as log:
            console = LoggedConsole(log)
            outcome = train(typed(config, TrainConfig), list(HydraConfig.get().overrides.task), console)
            if outcome is None:
                return None
            _conclude(run, report_run(run), console)
            return outcome.score
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


def _conclude(run: RunDirectory, report: Subject, console: LoggedConsole) -> None:
    """The last lines: what was gained over the baseline, and where to look."""
    best = report.record.best
    console.print(difference_table("Test, against the flatten baseline", (best, "flatten"), report.over_baseline), "")
    if report.over_pooled:
        pooled = difference_table("Test, against the pooled reference", (best, "pooled"), report.over_pooled)
        console.print(pooled, "")
    changes = {difference.metric: difference for difference in report.over_baseline}
    for metric in ("recall@1", "precision@10", "map@r"):
        found = changes[metric]
        low, high = found.interval.low, found.interval.high
        gain = f"gain {found.interval.mean:+.3f} ({low:+.3f} to {high:+.3f})"
        console.print(f"{metric:<13}{found.other:.3f} -> {found.value:.3f}  {gain} over the baseline", highlight=False)
    _print_without_leaks(report, console)
    console.print(f"Report: {run.report.resolve()}", soft_wrap=True, highlight=False)


def _print_without_leaks(report: Subject, console: LoggedConsole) -> None:
    """The main metrics again where images of the test were in training too, without them as queries."""
    leaked, queries = report.leaked, report.best.result.per_query.height
    if report.record.leaks is None or not leaked:
        return
    if leaked == queries:
        console.print("Every query has a copy in training or validation: these figures are no test.", style="yellow")
        return
    ids = report.record.leaks.leaked_queries
    before, after = (leave_out(result, ids).metrics for result in (report.baseline.result, report.best.result))
    shown = ", ".join(f"{name} {before[name]:.3f} -> {after[name]:.3f}" for name in ("recall@1", "map@r"))
    console.print(
        f"Without the {leaked} of {queries} queries that have a copy in training or validation: {shown}",
        style="yellow",
        soft_wrap=True,
        highlight=False,
    )


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
