"""Progress of long work, on a terminal and in a file."""

import io

import pytest
from rich.console import Console

from conspecific.progress import progress_bar


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_in_a_file_a_line_is_printed_every_ten_seconds() -> None:
    console, clock = Console(file=io.StringIO(), width=30), Clock()
    with progress_bar(console) as progress:
        progress.get_time = clock
        task = progress.add_task("Encoding [bold]train[/] once", total=2000)
        for step in range(1, 41):
            clock.now = float(step)
            progress.update(task, completed=50 * step)
    printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert printed == [
        "Encoding [bold]train[/] once: 500 of 2,000, 0:30 left",
        "Encoding [bold]train[/] once: 1,000 of 2,000, 0:20 left",
        "Encoding [bold]train[/] once: 1,500 of 2,000, 0:10 left",
    ], "nothing is wrapped, nothing is markup, and the end needs no line"


@pytest.mark.parametrize("total", [None, 100])
def test_steps_of_one_are_counted_too(total: int | None) -> None:
    console, clock = Console(file=io.StringIO()), Clock()
    with progress_bar(console) as progress:
        progress.get_time = clock
        task = progress.add_task("Hashing", total=total)
        clock.now = 12.0
        progress.advance(task, 3)
    end = " of 100, 6:28 left" if total else ""
    assert console.file.getvalue() == f"Hashing: 3{end}\n"  # type: ignore[attr-defined]


def test_on_a_terminal_a_bar_is_drawn_and_names_are_no_markup() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress_bar(console) as progress:
        progress.add_task("Reading [old]", total=2)
        progress.refresh()
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Reading [old]" in drawn
    assert "0/2" in drawn
