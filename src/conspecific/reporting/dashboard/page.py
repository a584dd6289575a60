"""The page over all runs in a folder: one self-contained HTML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conspecific.files import write_text
from conspecific.reporting.dashboard.curves import curves
from conspecific.reporting.dashboard.examples import shown_examples
from conspecific.reporting.dashboard.rows import table_rows
from conspecific.reporting.dashboard.settings import settings_of_task
from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.section import Section, render_page
from conspecific.reporting.page.wording import MAIN_METRICS, number, plural
from conspecific.runs.overview import Overview, differing

COLUMNS = ("data", "protocol", "loss", "backbone")  # shown where runs differ in them
SCRIPTS = ("dashboard/table.js", "page/viewer.js")
CHOICES = (*COLUMNS, "outcome")  # what the page can be filtered by


@dataclass(frozen=True, slots=True)
class Subject:
    """What the sections are built from. page: the file to write, which the links start from."""

    found: Overview
    page: Path


def write_dashboard(path: Path, found: Overview) -> Path:
    """Write the page to `path` and return it."""
    own = {
        "title": f"Dashboard of {found.folder.name or found.folder}",
        "over": "dashboard",
        "headline": headline(found),
        "lead": lead(found),
    }
    page = render_page("dashboard/page.html.j2", SECTIONS, Subject(found, path), {}, own, SCRIPTS)
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))  # a name may hold bytes that are no text
    return path


def headline(found: Overview) -> str:
    """Return how many runs there are, and the best of them where all can be compared."""
    if not found.runs:
        return "No finished runs"
    if len(found.tasks) > 1:
        return f"{plural(len(found.runs), 'run')} on {len(found.tasks)} different tests"
    best = found.tasks[0][0]
    if len(found.runs) == 1:
        return f"1 run: validation {best.monitor} {number(best.score)}"
    return f"{best.name} is the best of {len(found.runs)} runs on validation: {best.monitor} {number(best.score)}"


def lead(found: Overview) -> list[str]:
    """Return what is on the page, and what is not."""
    sentences = ["Runs are ranked by validation. Choosing one by its test score biases that score upwards."]
    if len(found.tasks) > 1:
        sentences.append("Scores of runs with other images, splits or another protocol cannot be compared.")
    if found.left_out:
        sentences.append(f"{plural(len(found.left_out), 'folder')} without a readable result: see Left out.")
    return sentences


def _runs(subject: Subject) -> dict[str, Any] | None:
    tasks = subject.found.tasks
    if not tasks:
        return None
    rows = table_rows(tasks, [differing(runs) for runs in tasks], subject.page)
    monitors = {run.monitor for run in subject.found.runs}
    choices = {name: sorted({getattr(row, name) for row in rows}) for name in CHOICES}
    return {
        "rows": rows,
        "metrics": MAIN_METRICS,
        "monitor": monitors.pop() if len(monitors) == 1 else "monitored metric",
        "choices": {name: values for name, values in choices.items() if len(values) > 1},
        "shown": [name for name in COLUMNS if len(choices[name]) > 1],
        "same": [(name, choices[name][0]) for name in COLUMNS if len(choices[name]) == 1],
    }


def _learning(subject: Subject) -> dict[str, Any] | None:
    drawn = [found for runs in subject.found.tasks if (found := curves(runs))]
    without = sum(len(run.curve) < 2 for run in subject.found.runs)
    return {"curves": drawn, "without": plural(without, "run") if without else ""} if drawn else None


def _settings(subject: Subject) -> dict[str, Any] | None:
    tasks = [found for runs in subject.found.tasks if (found := settings_of_task(runs))]
    return {"tasks": tasks} if tasks else None


def _examples(subject: Subject) -> dict[str, Any] | None:
    if not subject.found.runs:
        return None
    found, images = shown_examples(subject.found.tasks)
    return {"found": found, "images": images, "shown": SHOWN}


def _left_out(subject: Subject) -> dict[str, Any] | None:
    return {"left_out": subject.found.left_out} if subject.found.left_out else None


SECTIONS: list[Section[Subject]] = [
    Section("runs", "Runs", "dashboard/runs.html.j2", _runs),
    Section("learning", "Learning curves", "dashboard/learning.html.j2", _learning),
    Section("settings", "Settings that differ", "dashboard/settings.html.j2", _settings),
    Section("examples", "Best examples", "dashboard/examples.html.j2", _examples),
    Section("left-out", "Left out", "dashboard/left_out.html.j2", _left_out),
]
