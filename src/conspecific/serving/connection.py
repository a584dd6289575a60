"""Connections of clients that send a request slowly, or none: they are given up, and make room for others."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 200  # that may be open at once
SECONDS = 60.0  # for the headers of a request, and to take an answer and send those of the next one


class Connection(H11Protocol):
    """A connection that is closed where it has no request under way for SECONDS, whatever it sends meanwhile.

    uvicorn itself waits for the end of the headers for ever, and refuses every request while CONNECTIONS are open. Here
    a new connection closes the oldest one that has no request under way.
    """

    _deadline: asyncio.TimerHandle | None = None
    _opened = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way: the headers are not complete, or the answer was handed over."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._wait()
        others = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        if len(others) >= CONNECTIONS - 1 and (idle := [each for each in others if each.is_idle]):
            min(idle, key=lambda each: each._opened).give_up()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Close the connection at once, unless a request is under way."""
        if self.is_idle:
            self.connections.discard(self)  # the transport says so a moment later
            self.transport.abort()

    def _wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(SECONDS, self.give_up)
