"""A web site on this machine that misbehaves as it is told."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conspecific.data.downloads.files import RemoteFile


@dataclass
class Site:
    """files: by path. answers: of a path, status codes or addresses to redirect to, given in turn before the file is.

    cuts: after how many bytes each coming answer breaks off, None for not. ranges: whether parts can be asked for.
    tag: the ETag, None for none. announced: whether the length is told. log: path, Range and status of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[int | str]] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    ranges: bool = True
    tag: str | None = '"one"'
    announced: bool = True
    kind: str = "application/octet-stream"
    shift: int = 0
    address: str = ""
    log: list[tuple[str, str | None, int]] = field(default_factory=list)

    def remote(self, name: str, known: bool = True) -> RemoteFile:
        """The file of this name as a catalogue has it; `known` with its size and checksum."""
        content = self.files[name]
        told = {"size": len(content), "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}"} if known else {}
        return RemoteFile(f"{self.address}/{name}", **told)  # type: ignore[arg-type]

    @property
    def statuses(self) -> list[int]:
        return [status for _, _, status in self.log]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            site.log.append((self.path, self.headers.get("Range"), status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            cut = site.cuts.pop(0) if body and site.cuts else None
            self.wfile.write(body[:cut])
            if cut is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            if waiting := site.answers.get(path):
                answer = waiting.pop(0)
                if isinstance(answer, int):
                    return self.answer(answer, {})
                return self.answer(302, {"Location": answer})
            if path not in site.files:
                return self.answer(404, {})
            self.send_file(site.files[path])

        def send_file(self, content: bytes) -> None:
            headers = {"Content-Type": site.kind} | ({"ETag": site.tag} if site.tag else {})
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            start = int(asked[len("bytes=") : -1]) if asked else 0
            if not (asked and site.ranges and condition in (None, site.tag)):
                length = {"Content-Length": str(len(content))} if site.announced else {}
                return self.answer(200, headers | length, content)
            if start >= len(content):
                return self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
            start += site.shift
            part = {
                "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}",
                "Content-Length": str(len(content) - start),
            }
            self.answer(206, headers | part, content[start:])

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A running site without files; `site.address` is where."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
