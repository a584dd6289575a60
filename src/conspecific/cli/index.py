"""conspecific index: make a searchable index of a gallery, and keep it up to date."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conspecific.cli.what_next import print_next
from conspecific.config.schema import IndexConfig
from conspecific.evaluation.index_costs import IndexCost
from conspecific.evaluation.tables import format_interval
from conspecific.index import Index
from conspecific.runs.changes import Changes, change_index
from conspecific.tables import PlainConsole, plain_table


def run(config: IndexConfig) -> None:
    """Make the index, or change one that is there, and print what it takes."""
    console = PlainConsole()
    if config.compare:
        _compare(config, console)
        return
    if config.refresh or config.add or config.remove:
        folder, index, changes = change_index(config, console)
        console.print(_told(changes, len(index)), soft_wrap=True, highlight=False)
    else:
        from conspecific.runs.gallery import make_index
        from conspecific.runs.open import open_run

        folder, index = make_index(open_run(config), console)
    console.print(f"{_described(index)}\nIndex: {folder}", soft_wrap=True, highlight=False)
    print_next(console, "search", folder, "IMAGE")


def _compare(config: IndexConfig, console: Console) -> None:
    """Print what each way to search costs, and write it into the report of a finished run whose images are there."""
    from conspecific.reporting.run.report import report_run
    from conspecific.runs.index_costs import measure_costs
    from conspecific.runs.open import open_run
    from conspecific.runs.record import read_record

    opened = open_run(config)
    costs, file = measure_costs(opened, console)
    console.print(_costs(costs))
    if file is None or opened.run is None:
        return
    console.print(f"Costs: {file}", soft_wrap=True, highlight=False)
    if opened.run.summary.is_file() and Path(read_record(opened.run.path).counts.data_root).is_dir():
        report_run(opened.run)
        console.print(f"Report: {opened.run.report}", soft_wrap=True, highlight=False)


def _costs(costs: Sequence[IndexCost]) -> Table:
    """Return a row for each way, below the first the intervals of the paired differences to it."""
    columns = ["index", "dim", "recall@1", "map@r", "found", "bytes", "build s", "per s"]
    table = plain_table("What each way to search the test images costs", columns)
    table.caption = (
        "Intervals of the paired difference to exact; found: index_recall@10; bytes: of memory for an image; per s: "
        "queries, all at once. expansion, augmented, reciprocal, flip, wiener: refined answers, see evaluate --help"
    )
    table.caption_justify, table.caption_style = "left", "dim"
    for cost in costs:
        intervals = {each.metric: "\n" + format_interval(each.interval) for each in cost.differences}
        scores = [f"{cost.metrics[name]:.3f}{intervals.get(name, '')}" for name in ("recall@1", "map@r")]
        speed = [f"{cost.bytes_per_image:,.0f}", f"{cost.build_seconds:.3f}", f"{cost.queries_per_second:,.0f}"]
        table.add_row(cost.name, str(cost.dimensions), *scores, f"{cost.recall:.3f}", *speed)
    return table


def _described(index: Index) -> str:
    size = f"{index.bytes_per_image:,.0f} bytes an image"
    return f"{len(index):,} images, {index.stored.dimensions} dimensions, {index.kind}, {size}"


def _told(changes: Changes, images: int) -> str:
    counts = [(changes.new, "new"), (changes.changed, "changed"), (changes.gone, "gone")]
    counts.append((changes.relabelled, "of another species now"))
    found = ", ".join(f"{count:,} {what}" for count, what in counts)
    how = f" {changes.how}." if changes.how else ""
    return f"{found}: {changes.encoded:,} images encoded, {images - changes.encoded:,} not again.{how}"
