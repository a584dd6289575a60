"""`conspecific serve` as a function."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from conspecific.cli.arguments import divide, read
from conspecific.cli.commands import COMMANDS
from conspecific.cli.serve import run as run_command
from conspecific.config.places import writing
from conspecific.errors import ConfigError


def serve(run: str | os.PathLike[str], overrides: Sequence[str] = ()) -> None:
    """Do what `conspecific serve` does: open a search page, and answer until Ctrl-C.

    run: a run directory, or an index that `conspecific index` has made.
    overrides: KEY=VALUE as on the command line, for example ["port=8080", "data.root=photos"].

    Raises ValueError (ConfigError, DataError, RunError) with a sentence that says what does not fit; in a notebook too,
    whose event loop leaves no room for that of the server.

    >>> serve("runs/first", ["prot=8080"])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ConfigError: prot is not a key of this configuration. Did you mean port?
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise ConfigError("an event loop is running here, as in a notebook: run conspecific serve in a terminal")
    command = COMMANDS["serve"]
    given = divide(command, overrides)
    config = read(command, replace(given, words=[os.fspath(run), *given.words]))
    with writing(config):
        run_command(config)
