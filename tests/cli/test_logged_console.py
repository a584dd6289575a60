"""The log of a run: what was said, without the bars that came and went."""

import io
import sys
from pathlib import Path

import pytest
from rich.table import Table

from conspecific.cli.logged_console import LoggedConsole
from conspecific.progress import progress_bar


@pytest.mark.parametrize("terminal", [True, False])
def test_tables_are_logged_plain_and_bars_are_not(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, log = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    console = LoggedConsole(log)
    assert console.is_terminal is terminal
    with progress_bar(console) as progress:
        progress.update(progress.add_task("Counting", total=2), advance=1, refresh=True)
        console.print(Table("[red]species[/]", title="Half-way"))
    console.print("done", style="green")
    assert ("Counting" in screen.getvalue()) is terminal
    assert "Half-way" in screen.getvalue()
    lines = [line.strip() for line in log.getvalue().splitlines()]
    assert (lines[0], lines[-1]) == ("Half-way", "done")
    assert "Counting" not in log.getvalue()
    assert "\x1b" not in log.getvalue()
    assert "" not in lines


def test_names_from_data_are_printed_as_they_are(tmp_path: Path) -> None:
    table = Table("species [old]")
    table.add_row("wren [red]")
    with (tmp_path / "log").open("w") as log:
        console = LoggedConsole(log)
        console.print("copy [backup].jpg", table)
    text = (tmp_path / "log").read_text()
    assert "copy [backup].jpg" in text and "wren [red]" in text and "species [old]" in text
