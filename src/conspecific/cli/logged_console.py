"""A console that keeps a log."""

from typing import IO, Any

from rich.console import NewLine
from rich.control import Control

from conspecific.tables import PlainConsole


class LoggedConsole(PlainConsole):
    """Prints to the terminal and writes the same, plain and without progress bars, to a file as it happens."""

    def __init__(self, log: IO[str]) -> None:
        super().__init__()
        self.written = PlainConsole(file=log, width=100, force_terminal=False, color_system=None)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if not objects or not all(isinstance(each, Control | NewLine) for each in objects):  # bars are made of these
            self.written.print(*objects, **options)
