"""Errors meant for the person at the keyboard: what was found, what was needed, what to do."""

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

Text = TypeVar("Text", bound=str)

# Control characters but tab and line break, marks that reorder a line, and bytes of file names that are not UTF-8.
OBEYED = (*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
ESCAPES = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in (*OBEYED, *range(0xD800, 0xE000))}


class ConspecificError(ValueError):
    """Base of every error a user can mend. The command line prints its message without a stack trace."""


class ConfigError(ConspecificError):
    """A configuration key or value that does not fit."""


class DataError(ConspecificError):
    """Images, manifests or splits that cannot be used as they are."""


class ImageError(DataError, OSError):
    """An image file that cannot be read."""


class RunError(ConspecificError):
    """A run directory, weights file or stored result that is missing, incomplete or belongs to something else."""


class TrainingError(ConspecificError):
    """A training that cannot come to anything as it is going; its last good checkpoint stays."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence naming the nearest known names, or all of them when none is near.

    >>> did_you_mean("max_epoch", ["max_epochs", "min_epochs", "precision"])
    'Did you mean max_epochs or min_epochs?'
    >>> did_you_mean("zzz", ["b", "a"])
    'Known here: a, b.'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known here: {', '.join(names)}."


def name_some(names: Sequence[str], count: int | None = None, shown: int = 5) -> str:
    """Return the first names, and how many more there are. count: of all names, where `names` holds only some.

    >>> name_some(["robin", "wren", "owl"], shown=2)
    'robin, wren and 1 more'
    """
    more = (len(names) if count is None else count) - min(len(names), shown)
    return ", ".join(names[:shown]) + (f" and {more} more" if more else "")


def visible(text: Text) -> Text:
    """Return text with what a terminal or browser would obey, or refuse to encode, written as an escape.

    Names of species and files are anybody's. Markup stays markup: no escape holds what HTML has a meaning for.

    >>> print(visible("robin \\x1b[31m"))
    robin \\x1b[31m
    """
    return text.translate(ESCAPES)  # type: ignore[return-value]
