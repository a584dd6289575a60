"""Help of the commands, made from their list and their schemas. Standard library only, so that it is there at once."""

import textwrap
from collections.abc import Iterator
from typing import Any

from conspecific import __version__
from conspecific.cli.commands import COMMANDS, Command
from conspecific.cli.keys import about, keys_of
from conspecific.config.location import all_groups, options

WIDTH = 110  # of a line, in characters


def overview() -> str:
    """The commands and what each does."""
    lines = [f"  {command.name:<12}{command.summary}" for command in COMMANDS.values()]
    title = f"conspecific {__version__}: fine-tuned image-retrieval embeddings"
    return "\n".join([title, "", *lines, "", "conspecific COMMAND --help"])


def help_of(command: Command) -> str:
    """Usage, examples, keys and groups of one command."""
    lines = [f"{command.name}: {command.summary}", "", f"conspecific {command.name} {command.words}".rstrip(), ""]
    lines += [f"  conspecific {line:<55}{meaning}".rstrip() for line, meaning in command.examples]
    lines += ["", "  -q, --quiet: print errors alone. -v, --verbose: show where in the code an error was raised."]
    if command.note:
        lines += ["", *textwrap.wrap(command.note, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    lines += ["", "Keys, each set as KEY=VALUE, with type and default:", *_keys(command.schema)]
    groups = all_groups() if command.groups is None else command.groups
    if groups:
        lines += ["", "Groups; the keys of an option are in its YAML file, and are set as GROUP.KEY=VALUE:"]
        lines += [line for group in groups for line in _choices(group)]
    return "\n".join(lines)


def _keys(schema: type[Any]) -> Iterator[str]:
    """The lines of each key that a schema has, under the name of its section: name, type, default, meaning."""
    section = ""
    for key in sorted(keys_of(schema), key=lambda key: bool(key.section)):  # those without a section first
        if key.section != section:
            section = key.section
            yield from ["", " ".join(filter(None, [f"{section}:", about(schema, section)]))]
        yield f"  {key.name:<30}{key.kind}, {key.default}"
        yield from textwrap.wrap(key.meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _choices(group: str) -> list[str]:
    """A group and its options, continued on the next line where there are many."""
    lines, names = [f"  {group}="], options(group)
    for name in names:
        text = name if name == names[-1] else f"{name}|"
        if len(lines[-1]) + len(text) > WIDTH:
            lines.append(" " * 6)
        lines[-1] += text
    return lines
