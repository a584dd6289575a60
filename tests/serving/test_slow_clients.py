"""Clients that send slowly, or nothing, keep nobody from an answer; real sockets at the real server."""

import contextlib
import socket
import time
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from conspecific.config.schema import LimitsConfig
from conspecific.serving import connection
from conspecific.serving.app import create_app
from conspecific.serving.gallery import ServedGallery

from .conftest import running

BEGUN = b"GET /api/gallery HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def address(gallery: ServedGallery, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server that keeps 20 connections, each for a second without a request."""
    monkeypatch.setattr(connection, "CONNECTIONS", 20)
    monkeypatch.setattr(connection, "SECONDS", 1.0)
    with running(create_app(gallery, LimitsConfig())) as url:
        yield "127.0.0.1", int(url.rstrip("/").rpartition(":")[2])


def is_closed(client: socket.socket, seconds: float = 0) -> bool:
    client.settimeout(seconds)
    try:
        return client.recv(2**16) == b""
    except ConnectionError:
        return True
    except (TimeoutError, BlockingIOError):
        return False


def answers(address: tuple[str, int]) -> int:
    with urlopen(f"http://{address[0]}:{address[1]}/api/gallery", timeout=5) as response:
        return int(response.status)


def test_headers_that_never_end_keep_nobody_from_an_answer(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection(address)) for _ in range(60)]
        for client in slow[:40]:
            with contextlib.suppress(ConnectionError):
                client.sendall(BEGUN)
        ended = time.monotonic() + 10
        while not all(is_closed(client) for client in slow):
            assert answers(address) == 200, "while others hold every connection"
            assert time.monotonic() < ended, "what sends a byte now and then is given up too"
            for client in slow:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"x")
            time.sleep(0.1)


def test_a_second_request_that_never_ends_is_given_up_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(BEGUN + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
        client.sendall(BEGUN)
        ended = time.monotonic() + 4  # uvicorn's own limit, which any byte lifts, is 5 seconds
        while not is_closed(client, 0.1):
            assert time.monotonic() < ended
            with contextlib.suppress(ConnectionError):
                client.sendall(b"x")
