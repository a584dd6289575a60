"""The last line of a command: what to do with what it made."""

import shlex
from pathlib import Path

from rich.console import Console


def print_next(console: Console, *words: str | Path) -> None:
    """Print the command that is of use now; words: its name and arguments."""
    console.print(f"Next: {shlex.join(['conspecific', *map(str, words)])}", highlight=False, soft_wrap=True)
