"""From the words of a command line to a checked configuration, before anything heavy is imported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

from conspecific.cli.commands import COMMANDS, Command
from conspecific.config.compose import checked, compose_config, compose_hydra, typed
from conspecific.config.overrides import is_override, literal, override, overrides_of_run, quoted
from conspecific.config.targets import check_names
from conspecific.errors import ConfigError, RunError, did_you_mean

MULTIRUN, SHOW = ("-m", "--multirun"), ("-c", "--cfg")


@dataclass(frozen=True)
class Arguments:
    """words: arguments without `=`. overrides: KEY=VALUE. multirun: -m was given. show: --cfg job was given."""

    words: list[str]
    overrides: list[str]
    multirun: bool = False
    show: bool = False


def divide(command: Command, arguments: Sequence[str]) -> Arguments:
    """Divide a command line into options, which may stand anywhere, overrides and words.

    Raises ConfigError for an option that the command does not have.
    """
    left, options, rest = iter(arguments), set(), []
    for text in left:
        name, _, value = text.partition("=")
        if not text.startswith("-"):
            rest.append(text)
        elif not command.multirun or name not in (*MULTIRUN, *SHOW):
            raise ConfigError(_unknown(command, name))
        elif name in SHOW and (value or next(left, "")) != "job":
            raise ConfigError(f"{name} takes job: conspecific {command.name} --cfg job prints the configuration")
        else:
            options.add(name)
    is_given = command.multirun or None
    overrides = [text for text in rest if is_given or is_override(text)]
    words = [text for text in rest if text not in overrides]
    return Arguments(words, overrides, not options.isdisjoint(MULTIRUN), not options.isdisjoint(SHOW))


def read(command: Command, given: Arguments) -> Any:
    """Compose the configuration of a command other than train, and check it against its schema.

    Raises ConfigError for too many words, and as `typed` does.
    """
    if command.places is None:
        return typed(compose_config(command.name, given.overrides), command.schema)
    words, rest = given.words[: len(command.places)], given.words[len(command.places) :]
    if rest and command.rest is None:
        wanted = " ".join(command.places).upper()
        raise ConfigError(f"{command.name} takes {wanted} and KEY=VALUE; found also: {rest[0]}")
    placed = [override(place, word) for place, word in zip(command.places, words, strict=False)]
    if rest:
        placed.append(f"{command.rest}=[{','.join(quoted(word) for word in rest)}]")
    return typed(compose_config(command.name, [*placed, *given.overrides]), command.schema)


def read_training(given: Arguments) -> list[str]:
    """Return the overrides of a training, those of the run that `resume=RUN` names included.

    Every value that -m is to run is composed and checked once, with the first value of the other keys. Raises
    ConfigError, and RunError for a run that cannot be resumed.
    """
    overrides = [literal(text) for text in _resumed(given)]
    for job in each_value(overrides) if given.multirun else [overrides]:
        config = checked(compose_config("train", job), COMMANDS["train"].schema)
        hydra = compose_hydra("train", job)
        check_names(hydra, "hydra", config.allow)
        if hydra["sweeper"].get("params") and not given.multirun and config.resume is None:
            swept = ", ".join(hydra["sweeper"]["params"])
            raise ConfigError(f"this configuration sweeps {swept}, which one run cannot do: add -m to run the sweep")
    return overrides


def _unknown(command: Command, name: str) -> str:
    for options, meaning in ((MULTIRUN, "runs several trainings"), (SHOW, "prints the configuration of a training")):
        if name in options and not command.multirun:
            return f"{name} {meaning}: it is an option of train, not of {command.name}"
    known = ["--help", "--quiet", "--verbose", *((MULTIRUN[1], SHOW[1]) if command.multirun else ())]
    return f"{name} is not an option of {command.name}. {did_you_mean(name, known)}"


def each_value(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Overrides without sweeps, in which every value of every list of values occurs; drawn numbers are left out."""
    choices, fixed = {}, []
    for parsed in OverridesParser.create().parse_overrides(list(overrides)):
        if isinstance(parsed.value(), ChoiceSweep):
            key = str(parsed.input_line).partition("=")[0]
            choices[key] = [f"{key}={value}" for value in parsed.sweep_string_iterator()]
        elif not parsed.is_sweep_override():
            fixed.append(str(parsed.input_line))
    firsts = {key: values[0] for key, values in choices.items()}
    yield [*fixed, *firsts.values()]
    for key, values in choices.items():
        for value in values[1:]:
            yield [*fixed, *{**firsts, key: value}.values()]


def _resumed(given: Arguments) -> list[str]:
    """The overrides of the run that `resume=RUN` names, then the new ones, in its directory."""
    named = [text.partition("=")[2].strip("'\"") for text in given.overrides if text.startswith("resume=")]
    if not named:
        return given.overrides
    if given.multirun:
        raise ConfigError("resume=RUN continues one run: leave out -m")
    from conspecific.runs.directory import RunDirectory

    run = RunDirectory(Path(named[-1]).expanduser())
    if not run.can_resume:
        raise RunError(f"{run.path} cannot be resumed: it has no checkpoint and overrides.yaml. Start a new run.")
    new = [text for text in given.overrides if not text.startswith("resume=")]
    place = [override("resume", str(run.path)), override("hydra.run.dir", str(run.path))]
    return [*overrides_of_run(run.overrides), *new, *place]
