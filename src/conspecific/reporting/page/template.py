"""Jinja templates of the pages, found beside the code that fills them."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from conspecific.errors import visible
from conspecific.reporting.page.answers import describe_hits
from conspecific.reporting.page.wording import explain, species_name

REPORTING = Path(__file__).parents[1]


def template(name: str) -> Template:
    """Return a template by its path below `reporting/`, such as `run/page.html.j2`, or by an absolute path."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    """Every value is escaped, and its control characters shown: species names and paths come from the data."""
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        species=species_name, explain=explain, hits=describe_hits, breakable=breakable, dotted=dotted
    )
    return environment


def _source(name: str) -> str:
    return (REPORTING / name).read_text(encoding="utf-8")


def breakable(path: object) -> Markup:
    """Return a path that may break into lines after `/`, `_` and `-`.

    >>> breakable("Blue_Jay/1.jpg")
    Markup('Blue_<wbr>Jay/<wbr>1.jpg')
    """
    return Markup(re.sub(r"([/_-])", r"\1<wbr>", str(escape(str(path)))))


def dotted(key: str) -> Markup:
    """Return a configuration key that may break into lines after its dots.

    >>> dotted("model.head")
    Markup('model.<wbr>head')
    """
    return Markup(".<wbr>").join(key.split("."))
