"""The scripts of a page: inline, and allowed by their hash alone."""

import base64
import hashlib
from dataclasses import dataclass

from markupsafe import Markup

from conspecific.reporting.page.template import REPORTING


@dataclass(frozen=True, slots=True)
class Script:
    """A script. digest: what the Content-Security-Policy of the page knows it by."""

    text: Markup
    digest: str


def inline_script(name: str) -> Script:
    """Return a script by its path below `reporting/`, such as `page/viewer.js`."""
    text = (REPORTING / name).read_text(encoding="utf-8")
    return Script(Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii"))
