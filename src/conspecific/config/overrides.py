"""Overrides as they come from a shell: what names a place is taken as it is written."""

import re
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

PLACES = frozenset(
    {
        "data.cache",
        "data.path",
        "data.root",
        "image",
        "model.weights",
        "output",
        "paths.cache",
        "paths.runs",
        "resume",
        "run",
        "weights",
    }
)


def override(key: str, value: str) -> str:
    """KEY=VALUE in Hydra's grammar, the value taken to the letter.

    >>> print(override("run", "runs/it's (mine)"))
    run='runs/it\\'s (mine)'
    """
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def literal(text: str) -> str:
    """Quote the value of a key that names a place, so that blanks, commas, quotes and brackets in it mean themselves.

    A value that is quoted already, an interpolation, or several values with commas that do not exist as one file or
    folder (a sweep) are left to Hydra.

    >>> literal("data.root=/home/My Images")
    "data.root='/home/My Images'"
    >>> literal("seed=1,2")
    'seed=1,2'
    """
    key, _, value = text.partition("=")
    plain = re.fullmatch(r"[\w./:%-]*", value, re.ASCII)
    if key.lstrip("+") not in PLACES or plain or value[0] in "'\"" or "${" in value:
        return text
    if "," in value and not Path(value).expanduser().exists():
        return text
    return override(key, value)


def is_override(text: str) -> bool:
    """Whether a word of a command line is KEY=VALUE rather than a place that has `=` in its name."""
    return "=" in text and not Path(text).expanduser().exists()
