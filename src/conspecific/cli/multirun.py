"""Which job of a multirun is running."""

from collections.abc import Sequence
from math import prod

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode


def differing_overrides(overrides: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the overrides of a job that differ from job to job, as they would be given.

    arguments: of the command.
    """
    return [text for text in overrides if text not in arguments]


def job_title(arguments: Sequence[str]) -> str | None:
    """Return "Job 2 of 6: loss=triplet seed=1" for a job of a multirun, None for a single run.

    arguments: of the command. A sweeper that draws settings says itself which trial is running.
    """
    config = HydraConfig.get()
    if config.mode != RunMode.MULTIRUN or not config.sweeper["_target_"].endswith(".BasicSweeper"):
        return None
    params = [f"{key}={values}" for key, values in (config.sweeper.params or {}).items()]
    count = count_jobs([*params, *arguments])
    return (
        f"Job {int(config.job.num) + 1} of {count}: {' '.join(differing_overrides(config.overrides.task, arguments))}"
    )


def count_jobs(arguments: Sequence[str]) -> int:
    """Return the number of combinations of all values that overrides list.

    >>> count_jobs(["-m", "loss=arcface,triplet", "seed=range(3)", "trainer.max_epochs=5"])
    6
    """
    overrides = OverridesParser.create().parse_overrides([text for text in arguments if "=" in text])
    return prod(len(list(each.sweep_string_iterator())) for each in overrides if each.is_sweep_override())
