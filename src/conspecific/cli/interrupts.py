"""Signals that end a run, by which schedulers announce that they take a machine back."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def interruptible() -> Iterator[list[str]]:
    """Have each of SIGNALS do in this block what Ctrl-C does; yield a list that gets the name of the first to come.

    Later ones are ignored, so that the run can end. In worker processes, which get them too where a whole group of
    processes does, SIGUSR1 is ignored; torch lets SIGTERM end them. Outside the main thread nothing is changed.
    """
    came: list[str] = []
    process = os.getpid()

    def stop(number: int, _: Any) -> None:
        if os.getpid() == process and not came:
            came.append(signal.Signals(number).name)
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
