"""Pages from templates: what every page of this package is rendered with."""

import re
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from conspecific.reporting.page.wording import explain, species_name
from conspecific.reporting.run.examples import Answer


def page(name: str) -> Template:
    """Return a template of this package. Everything is escaped: species names and paths come from strangers."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(species=species_name, explain=explain, right=count_right, breakable=breakable)
    return environment.get_template(name)


def breakable(path: object) -> Markup:
    """A path that may go on in the next line behind a separator, and elsewhere only where it must.

    >>> breakable("Blue_Jay/1.jpg")
    Markup('Blue_<wbr>Jay/<wbr>1.jpg')
    """
    return Markup(re.sub(r"([/_-])", r"\1<wbr>", str(escape(str(path)))))


def count_right(answers: Sequence[Answer]) -> int:
    """How many answers are known to be right."""
    return sum(answer.hit is True for answer in answers)


def _source(name: str) -> str:
    return files("conspecific.reporting").joinpath("templates", name).read_text(encoding="utf-8")
