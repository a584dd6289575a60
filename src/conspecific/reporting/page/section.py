"""The sections of a page: built, rendered and linked from one list."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from markupsafe import Markup

from conspecific.reading import open_regular
from conspecific.reporting.page.script import inline_script
from conspecific.reporting.page.template import template

Subject = TypeVar("Subject")
HEAD = 500  # bytes of a page that hold its kind


@dataclass(frozen=True, slots=True)
class Section(Generic[Subject]):
    """One section of a page about a subject.

    id: its anchor. title: its heading and its entry in the navigation.
    template: the path of its template below `reporting/`, or an absolute path.
    build: returns the values of the template, or None to leave the section out.
    """

    id: str
    title: str
    template: str
    build: Callable[[Subject], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A section that has something to show."""

    id: str
    title: str
    body: Markup


def render_page(
    page: str,
    sections: Sequence[Section[Subject]],
    subject: Subject,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    scripts: Sequence[str] = (),
) -> str:
    """Return a page as HTML.

    page: the path of its template, which extends `page/layout.html.j2`. shared: values for every template, the page's
    and the sections'. own: values for the page's template alone. scripts: paths of scripts below `reporting/`.
    """
    rendered = []
    for section in sections:
        values = section.build(subject)
        if values is not None:
            body = Markup(template(section.template).render({**shared, **values}))
            rendered.append(Rendered(section.id, section.title, body))
    allowed = [inline_script(name) for name in scripts]
    return template(page).render({**shared, **own, "sections": rendered, "scripts": allowed})


def is_page(file: Path, kind: str) -> bool:
    """Whether a file is a page of a kind: `report`, `dashboard` or `comparison`."""
    try:
        with open_regular(file) as content:
            return f'<meta name="generator" content="Conspecific {kind}">'.encode() in content.read(HEAD)
    except OSError:
        return False
