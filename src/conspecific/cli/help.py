"""Help of the commands, made from their list and their schemas. Standard library only, so that it is there at once."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from conspecific import __version__
from conspecific.cli.commands import COMMANDS, Command
from conspecific.config.choices import RUN_LEVEL
from conspecific.config.location import all_groups, options

WIDTH = 110  # of a line, in characters


def overview() -> str:
    """The commands and what each does."""
    lines = [f"  {command.name:<10}{command.summary}" for command in COMMANDS.values()]
    title = f"conspecific {__version__}: fine-tuned image-retrieval embeddings"
    return "\n".join([title, "", *lines, "", "conspecific COMMAND --help"])


def help_of(command: Command) -> str:
    """Usage, examples, keys and groups of one command."""
    lines = [f"{command.name}: {command.summary}", "", f"conspecific {command.name} {command.words}", ""]
    lines += [f"  conspecific {line:<55}{meaning}".rstrip() for line, meaning in command.examples]
    if command.note:
        lines += ["", *textwrap.wrap(command.note, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    lines += ["", "Keys, each set as KEY=VALUE:", *(line for key in keys(command.schema) for line in key)]
    groups = all_groups() if command.groups is None else command.groups
    if groups:
        lines += ["", "Groups; the keys of an option are in its YAML file, and are set as GROUP.KEY=VALUE:"]
        lines += [line for group in groups for line in _choices(group)]
    return "\n".join(lines)


def keys(schema: type[Any], prefix: str = "") -> Iterator[list[str]]:
    """The lines of each key that a schema has: name, type, default, meaning. Groups of options have none."""
    hints, meanings = get_type_hints(schema), _meanings(schema)
    for field in fields(schema):
        hint, name = hints[field.name], f"{prefix}{field.name}"
        section = next((option for option in (hint, *get_args(hint)) if is_dataclass(option)), None)
        if isinstance(section, type):
            yield from keys(section, f"{name}.")
        elif not any(get_origin(option) is dict for option in (hint, *get_args(hint))):
            start = f"  {name:<30}{_kind(name, hint)}, {_default(field)}"
            meaning = meanings.get(field.name, "")
            yield [start, *textwrap.wrap(meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]


def _meanings(schema: type[Any]) -> dict[str, str]:
    """What the docstrings of a schema and its bases say of each key: `name: meaning.`, or `name, name: meaning.`"""
    found: dict[str, str] = {}
    names = {field.name for field in fields(schema)}
    for owner in reversed(schema.__mro__[:-1]):
        text = " ".join((owner.__doc__ or "").split())
        parts = re.split(r"(?:^|(?<=\. ))((?:\w+, )*\w+): ", text)
        for heads, meaning in zip(parts[1::2], parts[2::2], strict=True):
            found |= {name: meaning.strip() for name in heads.split(", ") if name in names}
    return found


def _kind(key: str, hint: Any) -> str:
    if key in RUN_LEVEL:
        return " | ".join(RUN_LEVEL[key])
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_kind(key, option) for option in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {_kind(key, get_args(hint)[0])}"
    return "null" if hint is NoneType else str(hint.__name__)


def _default(field: Field[Any]) -> str:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _choices(group: str) -> list[str]:
    """A group and its options, continued on the next line where there are many."""
    lines, names = [f"  {group}="], options(group)
    for name in names:
        text = name if name == names[-1] else f"{name}|"
        if len(lines[-1]) + len(text) > WIDTH:
            lines.append(" " * 6)
        lines[-1] += text
    return lines
