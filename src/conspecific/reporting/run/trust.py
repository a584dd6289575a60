"""When an answer can be trusted: the threshold on its score, what it keeps, and the curve behind it."""

from dataclasses import dataclass

from conspecific.evaluation.diagnose import Calibration, calibrate
from conspecific.reporting.page.plots import trust_curve
from conspecific.reporting.page.wording import number, percent
from conspecific.reporting.run.record import Report

WANTED = 0.95


@dataclass(frozen=True, slots=True)
class Trust:
    """The threshold in words and the curve as a drawing.

    wanted: the precision it was chosen for. rule: the threshold, or why there is none. outcome: name and value of what
        it does on the test, empty without one. summary: the drawing in words.
    """

    wanted: str
    rule: str
    outcome: tuple[tuple[str, str], ...]
    svg: str
    summary: str


def trust(report: Report) -> Trust:
    """Choose the threshold on the validation subset and show what it does on the test subset."""
    best = report.best
    found = None if report.validation is None else calibrate(report.validation, best, WANTED)
    curve = (found or calibrate(best, best, WANTED)).curve
    before = calibrate(report.flatten, report.flatten, WANTED).curve
    chosen = None
    if found is not None and found.kept is not None and found.precision is not None:
        chosen = found.kept, found.precision
    points = [[(kept, precision) for _, precision, kept in line] for line in (curve, before)]
    svg, summary = trust_curve(points[0], points[1], chosen, WANTED, report.best_name)
    return Trust(percent(WANTED), _rule(found), _outcome(found), svg, summary)


def _rule(found: Calibration | None) -> str:
    wanted = percent(WANTED)
    if found is None:
        return (
            "No threshold was chosen: this run left no validation result of its encoder, and a threshold chosen on "
            "the test itself would flatter."
        )
    if found.threshold is None:
        return (
            f"No threshold makes {wanted} of the kept answers right on validation: even the nearest answers are wrong "
            "more often than that, so this encoder's scores alone cannot promise it."
        )
    limit = (
        f"a similarity of at least {number(found.threshold)}"
        if found.similarity == "cosine"
        else f"a squared distance of at most {number(-found.threshold)}"
    )
    return (
        f"Keep only the answers with {limit}: the most generous threshold at which {wanted} of the kept answers "
        "were right on validation. On the test, which it was not chosen on:"
    )


def _outcome(found: Calibration | None) -> tuple[tuple[str, str], ...]:
    if found is None or found.threshold is None:
        return ()
    return (
        ("of the kept answers are right", percent(found.precision, 1)),
        ("of all answers are kept", percent(found.kept, 1)),
        ("of the queries keep at least one", percent(found.answered, 1)),
    )
