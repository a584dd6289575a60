"""A console that keeps a log."""

from typing import IO, Any

from rich.console import Console, NewLine
from rich.control import Control


class LoggedConsole(Console):
    """Prints to the terminal and writes the same, plain and without progress bars, to a file as it happens."""

    def __init__(self, log: IO[str]) -> None:
        super().__init__(markup=False)  # names of species and files are never markup
        self.written = Console(file=log, width=100, force_terminal=False, color_system=None, markup=False)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if not objects or not all(isinstance(each, Control | NewLine) for each in objects):  # bars are made of these
            self.written.print(*objects, **options)
