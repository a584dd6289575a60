"""A table and the page beside it, which a command writes into a run unless another place was named."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from conspecific.files import refuse_other_file
from conspecific.reporting.page.section import is_page
from conspecific.runs.open import OpenRun
from conspecific.tables import is_table_of


def table_and_page(
    opened: OpenRun, output: str | None, command: str, kind: str, columns: Sequence[str]
) -> tuple[Path, Path]:
    """Return where a command writes its table, KIND.csv in the run unless `output` names it, and the page beside it.

    Raises RunError where another file has one of the names: one that is no table of these columns, or no page of this
    kind.
    """
    place = opened.run.path if opened.run is not None else Path.cwd()
    file = Path(output).expanduser() if output else place / f"{kind}.csv"
    page = file.with_suffix(".html")
    refuse_other_file(file, command, lambda each: is_table_of(each, columns))
    refuse_other_file(page, command, lambda each: is_page(each, kind))
    return file, page


def print_places(console: Console, file: Path, page: Path) -> None:
    """Print where table and page were written."""
    console.print(f"Table: {file.resolve()}", highlight=False, soft_wrap=True)
    console.print(f"Page: {page.resolve()}", highlight=False, soft_wrap=True)
