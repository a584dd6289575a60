"""Tables for the terminal and for spreadsheets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conspecific.errors import visible

FORMULA = r"^([=+\-@\t\r])"  # how a cell begins that a spreadsheet would compute

WRITTEN = r"^'([=+\-@\t\r])"  # and how `csv_text` writes it


class PlainConsole(Console):
    """Prints names as what they are: no markup, no names of emoji, and control characters as escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def plain_table(title: str, columns: Sequence[str]) -> Table:
    """Return a table without a frame, its first column left-justified, the others right-justified.

    title and columns are never rich markup; cells are none on a `PlainConsole`, as all commands have.
    """
    table = Table(title=Text(visible(title), "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = False
    for number, column in enumerate(columns):
        table.add_column(Text(visible(column)), justify="left" if number == 0 else "right", no_wrap=True)
    return table


def is_table_of(file: Path, columns: Sequence[str]) -> bool:
    """Return whether a file is a CSV with these columns, as `csv_text` writes them."""
    if not file.is_file():
        return False
    try:
        with file.open(encoding="utf-8") as text:
            return text.readline(1000).strip() == ",".join(columns)
    except (OSError, ValueError):
        return False


def computed_no_more(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table that `csv_text` wrote as it was before: without the apostrophes in front of formulas."""
    return table.with_columns(pl.col(pl.String).str.replace(WRITTEN, "$1"))


def csv_text(table: pl.DataFrame) -> str:
    """Return a table as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    return table.with_columns(pl.col(pl.String).str.replace(FORMULA, "'$1")).write_csv()
