"""conspecific compare: compare runs query by query; runs that differ only in their seed form one group."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conspecific.config.schema import CompareConfig
from conspecific.evaluation.tables import difference_table
from conspecific.files import refuse_other_file, write_json
from conspecific.reading import json_keys
from conspecific.reporting.comparison.page import write_comparison
from conspecific.reporting.comparison.settings import SIDE_BY_SIDE, settings_table
from conspecific.reporting.page.section import is_page
from conspecific.reporting.sweep.page import headline, lead, sweep_rows, tested_metrics, write_sweep
from conspecific.runs.directory import make_new_folder
from conspecific.runs.groups import Comparison, Group, compare_runs
from conspecific.runs.sweeps import Sweep, is_sweep, read_sweep
from conspecific.runs.tested import find_runs, read_run
from conspecific.tables import PlainConsole, plain_table

NUMBERS, PAGE = "comparison.json", "comparison.html"
KEYS = ({"facts", "groups", "contrasts", "settings"}, {"facts", "sorted_by", "settings", "runs", "unfinished"})
LISTED = 30  # runs of a sweep that the terminal shows; the page has all


def run(config: CompareConfig, places: Sequence[str]) -> None:
    """Print what the runs scored and how they differ, and write it as a page and as JSON."""
    paths, console = find_runs(places), PlainConsole()
    output = Path(config.output).expanduser() if config.output else None
    for file in (output / NUMBERS, output / PAGE) if output else ():
        refuse_other_file(file, "compare", _is_own)
    as_sweep = is_sweep(paths) if config.sweep is None else config.sweep
    found = read_sweep(paths) if as_sweep else compare_runs([read_run(path) for path in paths])
    if isinstance(found, Sweep):
        _print_sweep(console, found)
    else:
        _print_comparison(console, found)
    folder = output or _new_folder(config)
    write_json(folder / NUMBERS, found.to_json())
    page = folder / PAGE
    written = write_sweep(page, found) if isinstance(found, Sweep) else write_comparison(page, found)
    console.print(f"Comparison: {written.resolve()}", soft_wrap=True, highlight=False)


def _is_own(file: Path) -> bool:
    return json_keys(file) in KEYS if file.name == NUMBERS else is_page(file, "comparison")


def _new_folder(config: CompareConfig) -> Path:
    return make_new_folder(Path(config.paths.runs).expanduser() / "comparisons" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}")


def _print_sweep(console: Console, found: Sweep) -> None:
    """Runs sorted by their validation score, the settings in which they differ, and their test scores."""
    settings, rows = sweep_rows(found)
    columns = [
        "",
        "run",
        f"val\n{found.monitor}",
        *settings,
        "epoch",
        *(f"test\n{name}" for name in tested_metrics(found)),
    ]
    table = plain_table("Runs, the best on validation first", columns)
    for row in rows[:LISTED]:
        table.add_row(row.place, row.name, row.validation, *row.values, f"{row.epoch} of {row.trained}", *row.test)
    if len(rows) > LISTED:
        table.caption = f"{len(rows) - LISTED} more are on the page."
        table.caption_justify, table.caption_style = "left", "dim"
    console.print(_folding(table), "")
    console.print(headline(found), style="bold", soft_wrap=True, highlight=False)
    console.print(" ".join(lead(found)) + "\n", highlight=False)


def _print_comparison(console: Console, found: Comparison) -> None:
    """What was tested, each group's runs, settings and scores, and what each has over the first."""
    facts = found.facts
    console.print(
        f"Tested on the same {facts['queries']} queries in {facts['gallery']} images of {facts['species']} species, "
        f"protocol {facts['protocol']}.\n",
        soft_wrap=True,
        highlight=False,
    )
    for table in _group_tables(found):
        console.print(table, "")
    if any(len(group.runs) > 1 for group in found.groups):
        console.print("±: standard deviation over seeds; below it, the 95 % interval of the mean.\n", style="dim")
    for contrast in found.contrasts:
        names = contrast.group.letter, contrast.first.letter
        adjusted = len(found.contrasts) > 1
        differences = difference_table(
            f"{names[0]} against {names[1]}", names, contrast.differences, contrast.over_seeds, adjusted
        )
        console.print(differences, "")


def _group_tables(found: Comparison) -> Iterator[Table]:
    """Which runs each group is made of, the settings in which groups differ, and what they scored."""
    members = plain_table("Groups", ["", "seeds", "runs"])
    for group in found.groups:
        seeds, paths = ", ".join(str(run.seed) for run in group.runs), "\n".join(str(run.path) for run in group.runs)
        members.add_row(group.letter, *(("", group.name) if group.name else (seeds, paths)))
    yield _folding(members)
    if found.settings:
        different = settings_table(found)
        settings = plain_table("Settings that differ", ["", *different.columns])
        for name, cells in different.rows:
            settings.add_row(name, *(cell.value for cell in cells))
        yield _folding(settings)
    for start in range(0, len(found.groups), SIDE_BY_SIDE):
        groups = found.groups[start : start + SIDE_BY_SIDE]
        scores = plain_table("Scores", ["metric", *(group.letter for group in groups)])
        for metric in found.metrics:
            scores.add_row(metric, *(_score(group, metric) for group in groups))
        yield scores


def _folding(table: Table) -> Table:
    """Long names go on in the next line: none is cut off."""
    for column in table.columns:
        column.no_wrap, column.overflow = False, "fold"
    return table


def _score(group: Group, metric: str) -> str:
    deviation, interval = group.deviations[metric], group.intervals[metric]
    text = f"{group.means[metric]:.3f}"
    if deviation is None:
        return text
    bounds = f"\n{interval.low:.3f}…{interval.high:.3f}" if interval else ""
    return f"{text} ± {deviation:.3f}{bounds}"
