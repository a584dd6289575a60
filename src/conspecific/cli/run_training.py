"""`conspecific train` as a function."""

from collections.abc import Sequence

from conspecific.cli.arguments import divide, read_training
from conspecific.cli.commands import COMMANDS
from conspecific.cli.train import run
from conspecific.errors import ConfigError
from conspecific.runs.record import RunRecord


def train(overrides: Sequence[str] = ()) -> RunRecord | None:
    """Do what `conspecific train` does with these overrides, and return the record of the run.

    overrides: KEY=VALUE as on the command line, for example ["data=folder", "data.root=photos", "loss=triplet"];
        `conspecific train --help` lists the groups, `conspecific train --cfg job` all keys.

    Returns the record: `path`, the run directory, which `load` opens; `config`; `epochs`; `validation` and `test`, the
    results of the references and the model by name; `gains`, the paired differences on test. None with `dry_run=true`.
    Raises ValueError (ConfigError, DataError, RunError, TrainingError) with a sentence that says what does not fit.

    >>> train(["trainer.max_epoch=5"])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ConfigError: trainer.max_epoch is not a key of this configuration. Did you mean trainer.max_epochs?
    """
    if options := [text for text in overrides if text.startswith("-")]:
        raise ConfigError(f"train makes one run and takes KEY=VALUE only; found {options[0]}")
    records = run(read_training(divide(COMMANDS["train"], overrides)), multirun=False)
    return records[0] if records else None
