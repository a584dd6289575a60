"""The last lines of a run, and the table that a multirun ends with."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.text import Text

from conspecific.evaluation import Difference, without_queries
from conspecific.evaluation.diagnose import describe_imbalance
from conspecific.evaluation.rejection import rejection_of
from conspecific.evaluation.tables import NAMES, difference_table
from conspecific.evaluation.taxonomy import describe_ranks
from conspecific.runs.record import RunRecord
from conspecific.runs.verdict import verdict
from conspecific.tables import plain_table

MAIN = ("recall@1", "precision@10", "map@r")


def print_conclusion(record: RunRecord, console: Console) -> None:
    """Print what the run gained on test over each reference, where its files are, and the next command to try."""
    for reference, differences in record.gains.items():
        title = f"Test, against {NAMES[reference]}"
        console.print(difference_table(title, (record.best, reference), differences), "")
    main = [name for name in MAIN if name in record.test[record.best].metrics]
    _print_macro(record, main, console)
    for metric in dict.fromkeys([*main, record.config.monitor]):
        for reference, differences in record.gains.items():
            [found] = [each for each in differences if each.metric == metric]
            _print(console, gain_line(found, NAMES[reference]))
    _print_without_leaks(record, console)
    best, validation = record.test[record.best], record.validation[record.best]
    rejection = rejection_of(best)
    for sentence in [*(rejection.describe() if rejection else ()), *describe_ranks(best, validation)]:
        _print(console, sentence)
    if (judged := verdict(record)) is not None:
        _print(console, f"Kept: {record.selection}")
        _print(console, str(judged), style={"better": "green", "worse": "red"}.get(judged.outcome, "yellow"))
    _print(console, f"Time: {record.cost}")
    if record.selection is not None:
        _print(console, f"Weights: {record.directory.weights.resolve()}")
    if (final := record.directory.final).config.is_file():
        used = f"{record.counts.train + record.counts.val + record.counts.tested:,}"
        _print(console, f"Final model of all {used} images, for use; none is left to test it: {final.path.resolve()}")
    _print(console, f"Report: {record.directory.report.resolve()}")
    if record.selection is not None:
        _print(console, f"Next: {search_command(record)}")


def _print_macro(record: RunRecord, metrics: Sequence[str], console: Console) -> None:
    """Where species differ much in size, print the means over species first."""
    best = record.test[record.best]
    if not (told := describe_imbalance(best)):
        return
    _print(console, f"{told}. Each species counted equally (macro):", style="yellow")
    for metric in metrics:
        others = ((NAMES[name], record.test[name].macro[metric]) for name in record.gains)
        compared = ", ".join(f"{value:.3f} of {name}" for name, value in others)
        _print(console, f"{metric:<13}{best.macro[metric]:.3f}, {compared}")


def gain_line(found: Difference, reference: str) -> str:
    """Return a metric's values, gain and interval as a line."""
    low, high = found.interval.low, found.interval.high
    gain = f"gain {found.interval.mean:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"{found.metric:<13}{found.other:.3f} -> {found.value:.3f}  {gain} over {reference}"


def search_command(record: RunRecord) -> str:
    """Return a command that searches with a test image of the run."""
    image = Path(record.counts.data_root) / str(record.test[record.best].per_query["path"][0])
    return shlex.join(["conspecific", "search", str(record.path), str(image)])


@dataclass(frozen=True, slots=True)
class Job:
    """A finished job of a multirun: the overrides that differ from job to job, and its scores.

    score: of `monitor` on validation. metrics: on test.
    """

    path: Path
    overrides: str
    monitor: str
    score: float
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, record: RunRecord, overrides: str) -> Self:
        """Take from a record what the table needs, and not its results for every query."""
        return cls(record.path, overrides, record.config.monitor, record.score, record.test[record.best].metrics)


def print_multirun(jobs: Sequence[Job], console: Console) -> None:
    """Print a table of the finished jobs, the best on validation first, and the command that compares them."""
    if len(jobs) < 2:
        return
    table = plain_table(
        "Finished jobs, the best on validation first",
        ["job", f"validation {jobs[0].monitor}", "test recall@1", "test map@r"],
    )
    for job in sorted(jobs, key=lambda job: -job.score):
        values = (job.score, job.metrics.get("recall@1"), job.metrics.get("map@r"))
        shown = ("" if value is None else f"{value:.3f}" for value in values)
        table.add_row(Text(f"{job.path.name}: {job.overrides}"), *shown)
    console.print(table, "")
    folders = dict.fromkeys(str(job.path.parent) for job in jobs)
    _print(console, f"Next: {shlex.join(['conspecific', 'compare', *folders])}")


def _print_without_leaks(record: RunRecord, console: Console) -> None:
    """Print the main metrics without the test queries that have a copy in training or validation, if there are any."""
    if record.leaks is None or record.config.leaks == "drop":
        return
    best, ids = record.test[record.best], record.leaks.leaked_queries
    queries, leaked = best.per_query.height, int(best.per_query["id"].is_in(ids.tolist()).sum())
    if not leaked:
        return
    if leaked == queries:
        text = "Every test query has a copy in training or validation: these metrics do not measure generalization."
    else:
        before, after = (without_queries(result, ids).metrics for result in (record.test["flatten"], best))
        shown = ", ".join(f"{name} {before[name]:.3f} -> {after[name]:.3f}" for name in ("recall@1", "map@r"))
        text = f"Without the {leaked} of {queries} queries that have a copy in training or validation: {shown}"
    _print(console, text, style="yellow")


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
