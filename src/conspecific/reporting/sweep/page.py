"""The page of a sweep: every run by its validation score, what was set, and what that did."""

from dataclasses import dataclass
from pathlib import Path

from conspecific.reporting.comparison.changes import MAIN
from conspecific.reporting.page.template import page
from conspecific.reporting.page.wording import DASH, number, plural, protocol_sentence
from conspecific.reporting.run.examples import SHOWN
from conspecific.reporting.sweep.drawings import curves, drawings, short_names, shown
from conspecific.runs.sweeps import Sweep, SweptRun

TESTED = ("recall@1", f"precision@{SHOWN}", MAIN)


@dataclass(frozen=True, slots=True)
class Row:
    """One run as text. epoch: the chosen one. trained: how many it had."""

    place: str
    name: str
    values: tuple[str, ...]
    epoch: str
    trained: str
    stopped: bool
    validation: str
    test: tuple[str, ...]


def write_sweep(path: Path, sweep: Sweep) -> Path:
    """Write the page to `path` and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_render(sweep), encoding="utf-8")
    return path


def sweep_rows(sweep: Sweep) -> tuple[list[str], list[Row]]:
    """Return the names of the settings that differ, and a row a run, the best on validation first."""
    names = short_names(sweep.keys)
    rows = [_row(sweep, place, run) for place, run in enumerate(sweep.runs, start=1)]
    return [names[key] for key in sweep.keys], rows


def _row(sweep: Sweep, place: int, run: SweptRun) -> Row:
    return Row(
        str(place),
        sweep.name(run),
        tuple(shown(run.given[key]) for key in sweep.keys),
        DASH if run.chosen is None else str(run.chosen),
        str(len(run.curve)),
        not run.is_whole,
        number(run.validation[sweep.monitor]),
        tuple(number(run.test[metric]) for metric in TESTED),
    )


def _render(sweep: Sweep) -> str:
    settings, rows = sweep_rows(sweep)
    best = sweep.runs[0]
    values = {
        "sweep": sweep,
        "headline": headline(sweep),
        "lead": lead(sweep),
        "settings": settings,
        "rows": rows,
        "tested": TESTED,
        "best": [(key, shown(best.given[key])) for key in sweep.keys],
        "drawings": drawings(sweep),
        "curves": curves(sweep),
        "stopped": sum(not run.is_whole for run in sweep.runs),
        "any_below": any(dot.is_below for drawn in drawings(sweep) for dot in drawn.dots),
    }
    return page("sweep.html.j2").render(values)


def headline(sweep: Sweep) -> str:
    """Return which run did best on validation, in one sentence."""
    best = sweep.runs[0]
    score = number(best.validation[sweep.monitor])
    return f"Of {len(sweep.runs)} runs, run {sweep.name(best)} does best on validation: {sweep.monitor} {score}."


def lead(sweep: Sweep) -> list[str]:
    """Return how the runs were sorted, how far the best is ahead, and what its test figure is worth."""
    facts, monitor = sweep.facts, sweep.monitor
    first, second = (run.validation[monitor] for run in sweep.runs[:2])
    behind = f"comes second, {number(first - second)} behind" if first - second >= 0.0005 else "is level with it"
    sentences = [
        f"Sorted by {monitor} on the validation subset, which is what to choose by; run {sweep.name(sweep.runs[1])} "
        f"{behind}.",
        "The figures on the test stand beside and were not used: whoever chooses by them has no test left.",
        f"Tested on the same {plural(facts['queries'], 'query', 'queries')} in {plural(facts['gallery'], 'image')} "
        f"of {plural(facts['species'], 'species', 'species')}. {protocol_sentence(facts['protocol'])}",
    ]
    if stopped := [run for run in sweep.runs if not run.is_whole]:
        sentences.append(f"{plural(len(stopped), 'run')} stopped before the last epoch.")
    if sweep.unfinished:
        were = "was" if len(sweep.unfinished) == 1 else "were"
        sentences.append(f"{plural(len(sweep.unfinished), 'run')} without a result {were} left out.")
    return sentences
