"""Reading YAML that may come from elsewhere: bounded in size, depth and time, and plain values only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from conspecific.errors import ConfigError
from conspecific.reading import read_bounded

MOST_BYTES = 2**20  # the configuration of a run has three thousand
DEEPEST = 50  # levels of nesting; libyaml overflows its stack at some ten thousand
_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # builds plain values only; libyaml is not everywhere


def read_yaml(path: Path, most: int = MOST_BYTES) -> Any:
    """Return the plain containers that a YAML file holds. most: bytes.

    Aliases are refused: a few nested ones stand for more values than any memory holds, and no file of ours has one.
    Raises ConfigError for these, for a file that is too large or too deep, and for what is not YAML.
    """
    try:
        text = read_bounded(path, most).decode()
        _require_harmless(yaml.parse(text, Loader=_SAFE))
        return yaml.load(text, Loader=_SAFE)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, yaml.YAMLError) as error:  # PyYAML raises the second for `!!timestamp x`
        raise ConfigError(f"{path} cannot be read: {_reason(error)}") from error


def _require_harmless(events: Iterator[Any]) -> None:
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has an alias, *{event.anchor}, which no file of this program has")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"it is not YAML: line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, AttributeError):
        return "it has a value of another type than its tag says"
    return str(error).partition("\n")[0]
