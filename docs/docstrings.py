"""The docstrings of the package as Markdown for the site: `name: meaning` as a list, examples as code."""

import re
from typing import Any

from griffe import Extension, Object

HEAD = re.compile(r"(?:^|(?<=[.;] ))((?:\w+, )*\w+): (?=\S)")


class AsMarkdown(Extension):
    """Rewrites the docstring of every object that is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring with its paragraphs as Markdown."""
    return "\n\n".join(_paragraph(each) for each in re.split(r"\n\s*\n", text.strip()))


def _paragraph(text: str) -> str:
    if text.lstrip().startswith(">>>"):
        return f"```pycon\n{text}\n```"
    before, *rest = HEAD.split(" ".join(text.split()))
    pairs = zip(rest[::2], rest[1::2], strict=True)
    items = [f"- {', '.join(f'`{name}`' for name in heads.split(', '))}: {said.strip()}" for heads, said in pairs]
    return "\n\n".join(filter(None, [before.strip(), "\n".join(items)]))
