"""conspecific train: run a configuration, or several, and report."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conspecific.config.compose import explain, typed
from conspecific.config.location import config_dir
from conspecific.config.run_directory import RunDirectory
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError, ConspecificError, RunError
from conspecific.evaluation.tables import difference_table
from conspecific.reporting.record import Report
from conspecific.reporting.run_report import report_run
from conspecific.training.run import train


def run(arguments: Sequence[str]) -> None:
    """Compose with Hydra and run each job; `-m` runs several."""
    given = _resumed(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us; what users can mend is told in a sentence
    program, sys.argv = sys.argv, ["conspecific", *given]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(_job)()
    except ConfigCompositionException as error:
        raise ConfigError(explain(error, "train", [text for text in given if "=" in text])) from error
    except HydraException as error:
        if isinstance(error.__cause__, ConspecificError):
            raise error.__cause__ from error
        raise ConfigError(str(error)) from error
    finally:
        sys.argv = program


def _job(config: DictConfig) -> float | None:
    """One run. Returns the monitored validation metric, which sweepers maximise."""
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    console = Console(record=True)
    try:
        config.paths.run = str(run.path)
        outcome = train(typed(config, TrainConfig), list(HydraConfig.get().overrides.task), console)
        if outcome is None:
            return None
        _conclude(run, report_run(run), console)
        return outcome.score
    finally:
        if run.config.exists():
            with run.log.open("a") as log:
                log.write(console.export_text())
        else:  # nothing was begun: a directory of it would only be in the way
            shutil.rmtree(run.path, ignore_errors=True)


def _conclude(run: RunDirectory, report: Report, console: Console) -> None:
    """The last lines: what was gained over the baseline, and where to look."""
    best = "pooled" if report.model is None else "model"
    console.print(difference_table("Test, against the flatten baseline", (best, "flatten"), report.over_flatten))
    if report.over_pooled:
        console.print(difference_table("Test, against the pooled reference", (best, "pooled"), report.over_pooled))
    changes = {difference.metric: difference for difference in report.over_flatten}
    for metric in ("recall@1", "precision@10", "map@r"):
        found = changes[metric]
        low, high = found.interval.low, found.interval.high
        gain = f"gained {found.interval.mean:+.3f} ({low:+.3f} to {high:+.3f})"
        console.print(f"{metric:<13}{found.other:.3f} -> {found.value:.3f}  {gain} over the baseline", highlight=False)
    console.print(f"Report: {run.report.resolve()}", soft_wrap=True, highlight=False)


def _resumed(arguments: Sequence[str]) -> list[str]:
    """Repeat the overrides of the run that `resume=RUN` names, then the new ones, in its directory."""
    named = [text.partition("=")[2] for text in arguments if text.startswith("resume=")]
    if not named:
        return list(arguments)
    run = RunDirectory(Path(named[-1]))
    if not (run.checkpoints / "last.ckpt").is_file() or not run.overrides.is_file():
        raise RunError(f"{run.path} cannot be resumed: it has no checkpoints/last.ckpt and overrides.yaml. Start anew.")
    before = [str(text) for text in OmegaConf.load(run.overrides) if not str(text).startswith("resume=")]
    return [*before, *arguments, f"hydra.run.dir={run.path}"]
