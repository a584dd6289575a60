"""The page of a sweep: every run by its validation metric, and the metric against each setting."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conspecific.files import write_text
from conspecific.reporting.page.section import Section, render_page
from conspecific.reporting.page.wording import DASH, MAIN_METRICS, number, plural, protocol_sentence
from conspecific.reporting.sweep.drawings import curves, drawings, short_names, shown
from conspecific.runs.sweeps import Sweep, SweptRun


@dataclass(frozen=True, slots=True)
class Row:
    """One run as text. epoch: the selected one. trained: the number of its epochs."""

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
    best, title = sweep.runs[0], headline(sweep)
    own = {
        "title": title,
        "over": f"{len(sweep.runs)} runs, sorted by validation",
        "headline": title,
        "lead": lead(sweep),
        "best": [(key, shown(best.given[key])) for key in sweep.keys],
    }
    shared = {"sweep": sweep, "stopped": sum(not run.is_whole for run in sweep.runs)}
    write_text(path, render_page("sweep/page.html.j2", SECTIONS, sweep, shared, own))
    return path


def tested_metrics(sweep: Sweep) -> list[str]:
    """Return the test metrics that are shown."""
    return [metric for metric in MAIN_METRICS if all(metric in run.test for run in sweep.runs)]


def sweep_rows(sweep: Sweep) -> tuple[list[str], list[Row]]:
    """Return the names of the settings that differ, and a row for each run, the best on validation first."""
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
        tuple(number(run.test[metric]) for metric in tested_metrics(sweep)),
    )


def headline(sweep: Sweep) -> str:
    """Return which run is the best on validation, in one sentence."""
    best = sweep.runs[0]
    score = number(best.validation[sweep.monitor])
    return f"Run {sweep.name(best)} is the best of {len(sweep.runs)} on validation: {sweep.monitor} {score}."


def lead(sweep: Sweep) -> list[str]:
    """Return how the runs are sorted, by how much the best leads, and what was tested."""
    facts, monitor = sweep.facts, sweep.monitor
    first, second = (run.validation[monitor] for run in sweep.runs[:2])
    behind = f"is second, {number(first - second)} lower" if first - second >= 0.0005 else "has the same value"
    sentences = [
        f"Sorted by {monitor} on the validation split; run {sweep.name(sweep.runs[1])} {behind}.",
        "Test metrics are shown for reference and were not used for sorting: selecting by them biases them upwards.",
        f"All runs were tested on the same {plural(facts['queries'], 'query', 'queries')}, "
        f"{plural(facts['gallery'], 'gallery image')} and {plural(facts['species'], 'species', 'species')}. "
        f"{protocol_sentence(facts['protocol'])}",
    ]
    if stopped := [run for run in sweep.runs if not run.is_whole]:
        sentences.append(f"{plural(len(stopped), 'run')} stopped before the last epoch.")
    if sweep.unfinished:
        have, are = ("has", "is") if len(sweep.unfinished) == 1 else ("have", "are")
        sentences.append(f"{plural(len(sweep.unfinished), 'run')} {have} no result and {are} not listed.")
    return sentences


def _runs(sweep: Sweep) -> dict[str, Any]:
    settings, rows = sweep_rows(sweep)
    return {"settings": settings, "rows": rows, "tested": tested_metrics(sweep)}


def _settings(sweep: Sweep) -> dict[str, Any] | None:
    drawn = drawings(sweep)
    any_below = any(dot.is_below for drawing in drawn for dot in drawing.dots)
    return {"drawings": drawn, "any_below": any_below} if drawn else None


def _learning(sweep: Sweep) -> dict[str, Any] | None:
    drawn = curves(sweep)
    return {"curves": drawn} if drawn else None


def _glossary(sweep: Sweep) -> dict[str, Any]:
    return {}


SECTIONS: list[Section[Sweep]] = [
    Section("runs", "Runs", "sweep/runs.html.j2", _runs),
    Section("settings", "Effect of the settings", "sweep/settings.html.j2", _settings),
    Section("learning", "Learning curves", "sweep/learning.html.j2", _learning),
    Section("glossary", "Glossary", "sweep/glossary.html.j2", _glossary),
]
