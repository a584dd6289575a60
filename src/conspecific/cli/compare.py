"""conspecific compare: set runs beside each other, query by query, and runs of several seeds as one."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conspecific.cli.opened import read_config
from conspecific.config.overrides import is_override
from conspecific.config.schema import CompareConfig
from conspecific.evaluation.groups import Comparison, Group, compare_runs
from conspecific.evaluation.runs import find_runs, read_run
from conspecific.evaluation.tables import difference_table, plain_table
from conspecific.metrics import METRICS
from conspecific.reporting.comparison import write_comparison
from conspecific.reporting.comparison_numbers import SIDE_BY_SIDE, settings_table


def run(arguments: Sequence[str]) -> None:
    """Print what the runs scored and how they differ, and write it as a page and as JSON."""
    places = [text for text in arguments if not is_override(text)]
    config = read_config("compare", CompareConfig, [text for text in arguments if is_override(text)], [])
    found = compare_runs([read_run(path) for path in find_runs(places)])
    console, facts = Console(), found.facts
    console.print(
        f"Tested on the same {facts['queries']} queries in {facts['gallery']} pictures of {facts['species']} species, "
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
    folder = Path(config.output or f"{config.paths.runs}/comparisons/{datetime.now():%Y-%m-%d_%H-%M-%S}").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(json.dumps(found.to_json(), indent=2) + "\n")
    page = write_comparison(folder / "comparison.html", found)
    console.print(f"Comparison: {page.resolve()}", soft_wrap=True, highlight=False)


def _group_tables(found: Comparison) -> Iterator[Table]:
    """Which runs each group is made of, the settings in which groups differ, and what they scored."""
    members = plain_table("Groups", ["", "seeds", "runs"])
    for group in found.groups:
        seeds, paths = ", ".join(str(run.seed) for run in group.runs), "\n".join(str(run.path) for run in group.runs)
        members.add_row(group.letter, *(("", group.name) if group.name else (seeds, paths)))
    yield _folding(members)
    if found.settings:
        columns, rows = settings_table(found)
        settings = plain_table("Settings that differ", ["", *columns])
        for name, values in rows:
            settings.add_row(name, *values)
        yield _folding(settings)
    for start in range(0, len(found.groups), SIDE_BY_SIDE):
        groups = found.groups[start : start + SIDE_BY_SIDE]
        scores = plain_table("Scores", ["metric", *(group.letter for group in groups)])
        for metric in METRICS:
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
    if deviation is None or interval is None:
        return text
    return f"{text} ± {deviation:.3f}\n{interval.low:.3f}…{interval.high:.3f}"
