"""How well queries of known and of new species are told apart, and what the threshold of a search does to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from conspecific.evaluation.rejection import Rejection, rejection_of
from conspecific.evaluation.tables import format_interval
from conspecific.metrics import TPR, Interval
from conspecific.reporting.page.plots import rejection_curve
from conspecific.reporting.page.wording import number, percent, plural, signed
from conspecific.reporting.run.metric_tables import Gain
from conspecific.reporting.run.subject import Cell, Subject

METRICS = {
    "auroc": ("AUROC", "Probability that a query of a known species has a higher score than one of a new species."),
    "oscr": (
        "OSCR",
        "Probability that it also has a right first answer: area under the open-set classification rate curve.",
    ),
    "fpr": ("FPR at 95 % TPR", "Share of the new that is kept where 95 % of the known are. Lower is better."),
}
SHARES = {
    "kept": "Known queries kept (coverage)",
    "refused": "New queries refused",
    "refusal_precision": "New among all that are refused",
    "precision": "Right among all that are kept (precision)",
}


@dataclass(frozen=True, slots=True)
class RejectionRow:
    """One metric of every encoder. gains: the best encoder minus each of the others that it is compared with."""

    name: str
    sentence: str
    cells: tuple[Cell, ...]
    gains: tuple[Gain, ...]


def known_or_new(run: Subject) -> dict[str, Any] | None:
    """Build the section; None where the run does not say."""
    found = {encoder.role: rejection_of(encoder.result) for encoder in run.encoders}
    known = {role: each for role, each in found.items() if each is not None}
    best = known.get(run.best.role)
    if best is None or len(known) < len(found):
        return None
    svg, summary = rejection_curve({role: each.curve for role, each in known.items()}, _chosen(best), run.best.name)
    return {
        "who": who(best),
        "svg": Markup(svg),
        "summary": summary,
        "rule": rule(best),
        "outcome": [
            (name, percent(each.mean, 1), _bounds(each))
            for key, name in SHARES.items()
            if (each := best.statistics.get(key)) is not None
        ],
        "rows": rejection_rows(run, known),
        "compared": [name for name in ("baseline", "pooled") if name in _gains(best)],
    }


def who(found: Rejection) -> str:
    """Return which queries are known and which are new."""
    known = plural(found.known, "query", "queries")
    if found.asked_twice:
        return (
            f"The test has too few queries of species that are not in its gallery. So each of its {known} is searched "
            "twice: as it is (known), and with all images of its species taken out of the gallery (new)."
        )
    return f"The species of {known} is in the gallery (known), that of {found.new:,} is not (new)."


def rule(found: Rejection) -> str:
    """Return the threshold in words, empty without one."""
    if found.threshold is None:
        return ""
    return (
        f"A search says “probably none of these” of a query whose best score is below {number(found.threshold)}, which "
        f"{percent(TPR)} of the validation queries reach. On the test split, which was not used to choose it:"
    )


def rejection_rows(run: Subject, found: Mapping[str, Rejection]) -> list[RejectionRow]:
    """Return a row for each metric. found: by the role of each encoder."""
    gains, rows = _gains(found[run.best.role]), []
    for key, (name, sentence) in METRICS.items():
        values = [(encoder, found[encoder.role].statistics[key]) for encoder in run.encoders]
        cells = tuple(Cell(encoder, number(value.mean), _bounds(value)) for encoder, value in values)
        compared = [gains[other][key] for other in ("baseline", "pooled") if other in gains]
        rows.append(RejectionRow(name, sentence, cells, tuple(_gain(each, lower=key == "fpr") for each in compared)))
    return rows


def _gains(best: Rejection) -> dict[str, Mapping[str, Interval]]:
    """Return the gains by the short name of the other encoder."""
    return {{"flatten": "baseline"}.get(name, name): gains for name, gains in best.gains.items()}


def _gain(found: Interval, lower: bool) -> Gain:
    better = found.mean < 0 if lower else found.mean > 0
    verdict = "unsure" if found.holds_zero else "better" if better else "worse"
    return Gain(signed(found.mean), format_interval(found, signed), verdict)


def _bounds(found: Interval) -> str:
    return f"{number(found.low)} to {number(found.high)}"


def _chosen(found: Rejection) -> tuple[float, float] | None:
    """Return the shares of the known and of the new that the threshold refuses."""
    if found.threshold is None:
        return None
    return 1 - found.statistics["kept"].mean, found.statistics["refused"].mean
