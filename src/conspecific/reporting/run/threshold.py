"""A threshold on the score for a wanted precision, and the precision curve."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from conspecific.evaluation.diagnose import Calibration, calibrate
from conspecific.reporting.page.plots import Points, precision_curve
from conspecific.reporting.page.wording import number, percent
from conspecific.reporting.run.subject import Subject

WANTED = 0.95  # precision of the kept images


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold in words and the precision curve as a plot.

    wanted: the precision it was chosen for. rule: the threshold, or why there is none. outcome: name and value of what
    it does on the test split, empty without a threshold. summary: the plot in words.
    """

    wanted: str
    rule: str
    outcome: tuple[tuple[str, str], ...]
    svg: Markup
    summary: str


def threshold_section(run: Subject) -> dict[str, Any]:
    """Build the section."""
    return {"threshold": threshold(run), "split": str(run.best.result.facts.get("subset", ""))}


def threshold(run: Subject) -> Threshold:
    """Choose the threshold on the validation split and apply it to the test split."""
    found = calibrate(run.record.validation[run.record.best], run.best.result, WANTED)
    chosen = None if found.kept is None or found.precision is None else (found.kept, found.precision)
    others = {encoder.role: _points(calibrate(encoder.result, encoder.result, WANTED)) for encoder in run.encoders[:-1]}
    svg, summary = precision_curve(_points(found), others, chosen, WANTED, run.best.name)
    return Threshold(percent(WANTED), _rule(found), _outcome(found), Markup(svg), summary)


def _points(found: Calibration) -> Points:
    return [(kept, precision) for _, precision, kept in found.curve]


def _rule(found: Calibration) -> str:
    wanted = percent(WANTED)
    if found.threshold is None:
        return f"No threshold reaches a precision of {wanted} on the validation split."
    limit = (
        f"a cosine similarity of at least {number(found.threshold)}"
        if found.similarity == "cosine"
        else f"a squared distance of at most {number(-found.threshold)}"
    )
    return (
        f"Keep retrieved images with {limit}: the lowest threshold that reaches a precision of {wanted} on the "
        "validation split. On the test split, which was not used to choose it:"
    )


def _outcome(found: Calibration) -> tuple[tuple[str, str], ...]:
    if found.threshold is None:
        return ()
    return (
        ("Precision of the kept images", percent(found.precision, 1)),
        ("Retrieved images kept", percent(found.kept, 1)),
        ("Queries with at least one kept image", percent(found.answered, 1)),
    )
