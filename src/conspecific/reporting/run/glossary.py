"""The terms of the report."""

from typing import Any

from conspecific.reporting.page.wording import plural, protocol_sentence
from conspecific.reporting.run.subject import Subject
from conspecific.types import EvalResult


def glossary(run: Subject) -> dict[str, Any]:
    """Build the section."""
    result = run.best.result
    return {
        "protocol": protocol_sentence(str(result.facts.get("protocol", ""))),
        "excluded": excluded_sentence(result),
        "split": str(result.facts.get("subset", "")),
    }


def excluded_sentence(result: EvalResult) -> str:
    """Return how many queries were excluded, and why."""
    count = int(result.facts.get("excluded", 0))
    if count == 0:
        return "Every query has at least one other image of its species in the gallery."
    verb = "was" if count == 1 else "were"
    return f"{plural(count, 'query', 'queries')} {verb} excluded because the gallery has no other image of the species."
