"""The console command. Help needs the standard library only, and arguments are checked before torch is imported."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout

from conspecific import __version__
from conspecific.cli.commands import COMMANDS, Command
from conspecific.cli.help import help_of, overview
from conspecific.errors import ConspecificError, did_you_mean, visible

QUIET, VERBOSE = ("-q", "--quiet"), ("-v", "--verbose")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 1 interrupted or failed, 2 an error the user can correct."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if sys.platform == "win32":
        print("error: Windows is not supported: use WSL 2 (wsl --install), where it runs as on Linux", file=sys.stderr)
        return 2
    if not given or given[0] in ("-h", "--help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"conspecific {__version__}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        print(f"error: {name} is not a command. {did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return 2
    if "-h" in rest or "--help" in rest:
        print(help_of(COMMANDS[name]))
        return 0
    quiet, verbose = (not set(words).isdisjoint(rest) for words in (QUIET, VERBOSE))
    rest = [word for word in rest if word not in (*QUIET, *VERBOSE)]
    try:
        with ExitStack() as stack:
            if quiet:
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            _run(COMMANDS[name], rest)
    except ConspecificError as error:
        if verbose:
            from traceback import print_exc

            print_exc()
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"interrupted{visible(str(stop))}", file=sys.stderr)
        return 1
    return 0


def _run(command: Command, arguments: Sequence[str]) -> None:
    """Check the arguments, then import what the command needs and start it."""
    from conspecific.cli.arguments import divide, read, read_training

    given = divide(command, arguments)
    checked = read_training(given) if command.multirun else read(command, given)
    if given.show:
        from conspecific.config.compose import compose_config, to_yaml

        print(to_yaml(compose_config(command.name, checked)), end="")
        return
    run = importlib.import_module(f"conspecific.cli.{command.name}").run
    if command.multirun:
        run(checked, multirun=given.multirun)
        return
    from conspecific.config.places import writing

    with writing(checked):
        run(checked, *([given.words] if command.places is None else []))
