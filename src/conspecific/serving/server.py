"""The server: it listens before it says so, and ends quietly."""

import asyncio
import contextlib
import socket

import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from conspecific.config.schema import ServeConfig
from conspecific.errors import ConfigError
from conspecific.serving import connection
from conspecific.serving.app import create_app
from conspecific.serving.gallery import ServedGallery
from conspecific.serving.warm_up import warm_up

LAST_SECONDS = 2  # for answers under way when the server is told to end


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises ConfigError for a port that is taken and an address of another machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise ConfigError(
            f"host={host} port={port} cannot be listened at: {reason}. Choose another port, or port=0 "
            "for any that is free."
        ) from error


def address_of(listening: socket.socket, host: str) -> str:
    """Return the address to open in a browser."""
    port = listening.getsockname()[1]
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return the server of an application, which gives up slow clients."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=connection.Connection,
            ws="none",
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=connection.CONNECTIONS,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
    )


def run_until_interrupted(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when all answers are sent
        make_server(app).run(sockets=[listening])


def serve(gallery: ServedGallery, config: ServeConfig, listening: socket.socket, console: Console) -> None:
    """Answer until Ctrl-C."""
    app = create_app(gallery, config.limits, [config.host, *config.names])
    asyncio.run(warm_up(app))
    count = f"{len(gallery.manifest):,} images"
    console.print(f"Search page of {count}: {address_of(listening, config.host)} (Ctrl-C ends it)", soft_wrap=True)
    run_until_interrupted(app, listening)
