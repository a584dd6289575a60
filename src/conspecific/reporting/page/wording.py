"""What the pages say of metrics and protocols, and how they write numbers."""

import math
from typing import Any

from conspecific import metrics
from conspecific.reporting.page.answers import SHOWN

DASH, MINUS, NO_BREAK = "\u2013", "\u2212", "\u00a0"
MAIN_METRIC = "map@r"
MAIN_METRICS = ("recall@1", f"precision@{SHOWN}", MAIN_METRIC)

LOSS = "Mean training loss of the epoch. Values of different losses are not comparable."
_PROTOCOLS = {
    "seen": "Protocol seen (closed set): every species is in the train split and in the test split.",
    "unseen": "Protocol unseen (open set): no species of the test split is in the train split.",
    "query_gallery": "Protocol query_gallery: the queries are searched in a separate gallery.",
}


def explain(name: str) -> str:
    """Return the definition of a metric, or of the loss, in one sentence; an empty text for an unknown name."""
    return LOSS if name == "loss" else metrics.explain(name)


def protocol_sentence(protocol: str) -> str:
    """Return the definition of a protocol in one sentence, or an empty text for an unknown protocol."""
    return _PROTOCOLS.get(protocol, "")


def number(value: Any, digits: int = 3) -> str:
    """Return a number with fixed digits, or a dash for None, NaN and Inf.

    >>> number(0.51239), number(None) == DASH, number(float("nan")) == DASH
    ('0.512', True, True)
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign (U+2212 for minus).

    >>> signed(0.25), signed(-0.25) == MINUS + "0.250", signed(0.00001)
    ('+0.250', True, '0.000')
    """
    text = number(abs(value), digits)
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share in [0, 1] as a percentage without a line break in it, or a dash for None, NaN and Inf.

    >>> percent(0.5).split(), percent(0.0423, 1).split(), percent(None) == DASH
    (['50', '%'], ['4.2', '%'], True)
    """
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}{NO_BREAK}%"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "query", "queries"), plural(2999, "query", "queries"), plural(2, "image")
    ('1 query', '2,999 queries', '2 images')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def species_name(label: str | None) -> str:
    """Return a label with spaces for underscores.

    >>> species_name("Blue_Jay"), species_name(None)
    ('Blue Jay', 'unknown species')
    """
    return "unknown species" if label is None else label.replace("_", " ")
