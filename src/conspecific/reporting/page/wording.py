"""The page's plain words: what each metric means, what each protocol is, how numbers are written."""

import math
from collections.abc import Mapping
from typing import Any

from conspecific import metrics

DASH, MINUS, NO_BREAK = "\u2013", "\u2212", "\u00a0"
LOSS = "What training makes smaller. Its size means nothing across losses, only its fall does."
_PROTOCOLS = {
    "seen": "Every species is in training and in the test; the test's photographs are not in training.",
    "unseen": "The test's species were not in training at all: the harder, open question.",
    "query_gallery": "Each query image is searched in a separate gallery of images.",
}


def explain(name: str) -> str:
    """Return what a metric, or the loss, means in one sentence; an empty text for a name that is not known here."""
    return LOSS if name == "loss" else metrics.explain(name)


def protocol_sentence(protocol: str) -> str:
    """Return what the protocol asks, in one sentence; empty for an unknown one."""
    return _PROTOCOLS.get(protocol, "")


def number(value: Any, digits: int = 3) -> str:
    """Return a number with fixed digits, or a dash where there is none.

    >>> number(0.51239), number(None) == DASH, number(float("nan")) == DASH
    ('0.512', True, True)
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, a true minus.

    >>> signed(0.25), signed(-0.25) == MINUS + "0.250", signed(0.00001)
    ('+0.250', True, '0.000')
    """
    text = number(abs(value), digits)
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share of one as a percentage that no line breaks, or a dash where there is none.

    >>> percent(0.5).split(), percent(0.0423, 1).split(), percent(None) == DASH
    (['50', '%'], ['4.2', '%'], True)
    """
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}{NO_BREAK}%"


def p_value(value: float) -> str:
    """Return a p-value the way papers write it: small ones are not told apart.

    >>> p_value(0.0004), p_value(0.0321), p_value(1.0), p_value(float("nan")) == DASH
    ('< 0.001', '0.032', '1.000', True)
    """
    return "< 0.001" if value < 0.001 else number(value)


def plural(count: int, one: str, many: str = "") -> str:
    """Return the count and its noun.

    >>> plural(1, "query", "queries"), plural(2999, "query", "queries"), plural(2, "image")
    ('1 query', '2,999 queries', '2 images')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def species_name(label: str | None) -> str:
    """Return a label as people read it: spaces for underscores.

    >>> species_name("Blue_Jay"), species_name(None)
    ('Blue Jay', 'species not known')
    """
    return "species not known" if label is None else label.replace("_", " ")


def fact_lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts as label and text, in their order.

    >>> fact_lines({"peak_memory": "1.2 GB", "epochs": 1200, "freeze": None, "sizes": [1, 2]})
    [('Peak memory', '1.2 GB'), ('Epochs', '1,200'), ('Freeze', 'none'), ('Sizes', '1, 2')]
    """
    return [(_capital(str(name).replace("_", " ")), _plain(value)) for name, value in facts.items()]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(part) for part in value)
    return str(value)
