"""Errors meant for the person at the keyboard: what was found, what was needed, what to do."""

import difflib
from collections.abc import Iterable, Sequence


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
