"""Progress of long work: a bar on a terminal, a line every ten seconds in a file or pipe."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


def progress_bar(console: Console | None = None) -> Progress:
    """Return a progress display for `console`, which is standard output unless given.

    On a terminal it is a bar that disappears when the work is done. Elsewhere it prints a line every ten seconds, so
    that short work prints nothing. Descriptions are printed as they are, never as rich markup.
    """
    console = console or Console()
    if not console.is_terminal:
        return _ProgressLines(console=console, disable=True, auto_refresh=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def format_duration(seconds: float) -> str:
    """Return a duration as minutes and seconds, or as hours and minutes from one hour on.

    >>> format_duration(8.4), format_duration(754), format_duration(3 * 3600 + 300)
    ('0:08', '12:34', '3h05m')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


class Phases:
    """Where the time of a run goes: phase -> seconds.

    A phase inside another one is counted for itself alone, so that the sum is the time in any phase.

    >>> phases = Phases()
    >>> with phases.measure("training"):
    ...     with phases.measure("scoring"):
    ...         pass
    >>> sorted(phases.seconds)
    ['scoring', 'training']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Count the time of the block for a phase."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count the seconds that an earlier process took."""
        for name, value in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value

    def rounded(self) -> dict[str, float]:
        """Return the seconds of each phase so far, to a tenth, the longest phase first."""
        return {name: round(value, 1) for name, value in sorted(self.seconds.items(), key=lambda item: -item[1])}

    def _count(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


class _ProgressLines(Progress):
    """Prints lines in place of a bar; `Progress` with `disable=True` keeps the counts and draws nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.printed_at: dict[TaskID, float] = {}

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._print_if_due(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._print_if_due(task_id)

    def _print_if_due(self, task_id: TaskID) -> None:
        now, task = self.get_time(), self._tasks[task_id]
        since = self.printed_at.get(task_id, task.start_time)
        if since is None or now - since < SECONDS_BETWEEN_LINES or task.finished:
            return
        self.printed_at[task_id] = now
        line = f"{task.description}: {task.completed:,.0f}"
        if task.total:
            line += f" of {task.total:,.0f}"
            if task.completed and task.elapsed:
                line += f", {format_duration(task.elapsed * (task.total / task.completed - 1))} left"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
