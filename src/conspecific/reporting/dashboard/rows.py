"""The table of runs as text, with the value that each cell is sorted by."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from conspecific.reporting.page.wording import DASH, MAIN_METRIC, MAIN_METRICS, number, signed
from conspecific.runs.directory import RunDirectory
from conspecific.runs.overview import ListedRun

OUTCOMES = {"better": "better", "worse": "worse", "no difference": "no difference", "untrained": "untrained kept"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text. order: the number it is sorted by; None: the text."""

    text: str
    order: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One run. link: address of its report, relative to the page; empty where it has none.

    unusual: settings in which it differs from most runs of its task. gain, bounds: over the better reference.
    """

    name: str
    link: str
    data: str
    protocol: str
    loss: str
    backbone: str
    seed: Cell
    epoch: Cell
    validation: Cell
    tested: tuple[Cell, ...]
    gain: Cell
    bounds: str
    outcome: str
    minutes: Cell
    unusual: tuple[tuple[str, str], ...]


def table_rows(
    tasks: Sequence[Sequence[ListedRun]], differences: Sequence[Mapping[str, Counter[str | None]]], page: Path
) -> list[Row]:
    """Return a row for each run. differences: `differing` of each task. page: the file that links to the reports."""
    return [_row(run, found, page) for runs, found in zip(tasks, differences, strict=True) for run in runs]


def link_to(file: Path, page: Path) -> str:
    """Return the relative address of a file, with every byte that is not plain escaped, or an empty text without it."""
    if not file.is_file():
        return ""
    return "./" + quote(os.fsencode(os.path.relpath(file.absolute(), page.absolute().parent)))


def _row(run: ListedRun, found: Mapping[str, Counter[str | None]], page: Path) -> Row:
    gain = run.gain
    return Row(
        name=run.name,
        link=link_to(RunDirectory(run.path).report, page),
        data=run.data,
        protocol=run.protocol,
        loss=run.loss,
        backbone=run.backbone,
        seed=Cell(str(run.seed), run.seed),
        epoch=_epoch(run),
        validation=Cell(number(run.score) + ("" if run.monitor == MAIN_METRIC else f" {run.monitor}"), run.score),
        tested=tuple(_score(run.test.get(metric)) for metric in MAIN_METRICS),
        gain=Cell(DASH) if gain is None else Cell(signed(gain.interval.mean), gain.interval.mean),
        bounds="" if gain is None else f"{signed(gain.interval.low)} to {signed(gain.interval.high)}",
        outcome="" if run.outcome is None else OUTCOMES[run.outcome],
        minutes=Cell(number(run.minutes, 1), run.minutes),
        unusual=_unusual(run, found),
    )


def _epoch(run: ListedRun) -> Cell:
    """Return the chosen epoch of those trained."""
    chosen = run.selection.chosen_epoch if run.selection else 0
    return Cell(f"{chosen} of {len(run.curve)}", chosen)


def _score(value: float | None) -> Cell:
    return Cell(number(value), value)


def _unusual(run: ListedRun, found: Mapping[str, Counter[str | None]]) -> tuple[tuple[str, str], ...]:
    """Return the settings of a run that most others have another value of; its classes have columns of their own."""
    told = []
    for key, values in found.items():
        value = run.settings.get(key)
        if value is not None and value != values.most_common(1)[0][0] and key != "seed" and not key.endswith("_"):
            told.append((key, value))
    return tuple(told)
