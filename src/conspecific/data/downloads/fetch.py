"""One file over HTTP: continued where it was cut, verified, and only then called by its name."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from conspecific.data.downloads.files import BLOCK, MB, RemoteFile, mismatch, require_same
from conspecific.data.downloads.partial import Partial
from conspecific.errors import DataError
from conspecific.progress import progress_bar

ATTEMPTS = 5  # in a row that bring nothing new
LONGEST_PAUSE = 60.0  # seconds
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # answers that another time may not give
Report = Callable[[int, int | None], None]


class _Cut(Exception):
    """The connection, or the server, failed in a way that may pass."""


def fetch(file: RemoteFile, folder: Path, *, pause: float = 1.0, timeout: float = 60.0) -> Path:
    """Return where a file lies in `folder`, after downloading it unless it is there already.

    What was fetched before a connection was cut is kept as NAME.partial and continued, also by another run. An attempt
    that brings nothing new is repeated after `pause` seconds, then twice as long, five times in all. timeout: seconds
    without a byte. One process at a time may fetch into a folder, see `obtain`.

    Raises DataError when the address does not answer, answers with something else, or the disk is full, and when size
    or checksum are not those that were expected: what was fetched is removed then.
    """
    target, partial = folder / file.name, Partial(folder / f"{file.name}.partial")
    if target.exists():
        require_same(target, file)
        return target
    if file.url is None:
        raise DataError(f"{file.name} has to be put into {folder} by hand")
    _require_web(file.url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(file, file.url, partial, pause, timeout)
    except OSError as error:
        raise DataError(f"{partial.path} cannot be written: {error}") from error
    if wrong := mismatch(partial.path, file):
        partial.remove()
        raise DataError(
            f"{file.url} gave another file than was expected: {wrong}. What was fetched is removed. Run again; if the "
            f"same happens, the file was changed at its source: fetch {file.name} from elsewhere, put it into {folder}."
        )
    partial.finish(target)
    return target


def _download(file: RemoteFile, url: str, partial: Partial, pause: float, timeout: float) -> None:
    """Fill `partial`, going on after every failure that may pass."""
    failures, furthest = 0, partial.size
    with progress_bar() as progress:
        task = progress.add_task(f"Downloading {file.name} (MB)", total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done / MB, total=None if total is None else total / MB)

        while file.size is None or partial.size != file.size:
            try:
                _transfer(file, url, partial, timeout, report)
                return
            except _Cut as cut:
                failures = 1 if partial.size > furthest else failures + 1
                furthest = max(furthest, partial.size)
                if failures == ATTEMPTS:
                    raise DataError(_gave_up(file, url, partial, cut)) from cut
                time.sleep(min(pause * 2 ** (failures - 1), LONGEST_PAUSE))


def _gave_up(file: RemoteFile, url: str, partial: Partial, cut: _Cut) -> str:
    kept = f"The {partial.size} bytes that came are kept: run again to go on" if partial.size else "Run again later"
    return (
        f"{url} could not be fetched, {ATTEMPTS} attempts in a row brought nothing: {cut}. {kept}, or put {file.name} "
        f"into {partial.path.parent} by hand."
    )


def _transfer(file: RemoteFile, url: str, partial: Partial, timeout: float, report: Report) -> None:
    """Ask once for what is missing and write what comes. Raises _Cut where less came than was announced."""
    start, wanted = partial.size, partial.range_headers(url, trusted=file.checksum is not None)
    response = _open(
        Request(url, headers={"User-Agent": "conspecific", "Accept-Encoding": "identity"} | wanted), timeout
    )
    if response is None:
        partial.remove()
        raise _Cut("the server has no such part of the file")
    with response:
        if response.status == 206:
            total = _total_of_part(response.headers, start)
            if not wanted or total is None:
                partial.remove()
                raise _Cut("the server sent another part of the file than was asked for")
        else:  # the whole: the file was changed, or the server knows no parts
            start = 0
            total = _length(response.headers)
        _require_expected(file, url, response, total, partial)
        partial.begin(url, response.headers, keep=start > 0)
        _require_room(partial.path.parent, None if total is None else total - start)
        _write(_blocks(response), partial, start, total, report)
    if total is not None and partial.size < total:
        raise _Cut(f"the connection was closed after {partial.size} of {total} bytes")


def _write(blocks: Iterator[bytes], partial: Partial, start: int, total: int | None, report: Report) -> None:
    done = start
    with partial.path.open("ab") as out:
        for block in blocks:
            out.write(block)
            done += len(block)
            report(done, total)


def _open(request: Request, timeout: float) -> Any | None:
    """Return the response; None where the part that was asked for does not exist. Raises DataError or _Cut."""
    try:
        return _opener().open(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            return None
        if error.code in PASSING:
            raise _Cut(f"it answered {error.code} {error.reason}") from error
        raise DataError(
            f"{request.full_url} answered {error.code} {error.reason}. The file may have moved: look for it at its "
            "source and put it where the downloads lie, or give data.mirror= or data.root=."
        ) from error
    except (URLError, OSError, HTTPException) as error:
        raise _Cut(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _blocks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, HTTPException) as error:
            raise _Cut(str(error) or type(error).__name__) from error
        if not block:
            return
        yield block


def _length(headers: Message) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _total_of_part(headers: Message, start: int) -> int | None:
    """Size of the whole file where the part begins at `start` and runs to its end, else None."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", "").strip())
    if found is None:
        return None
    first, last, total = map(int, found.groups())
    return total if first == start and last == total - 1 else None


def _require_expected(file: RemoteFile, url: str, response: Any, total: int | None, partial: Partial) -> None:
    """Raise DataError before anything large is fetched, where the answer cannot be the file."""
    if response.headers.get_content_type() == "text/html" and not file.name.endswith((".html", ".htm")):
        partial.remove()
        raise DataError(
            f"{url} answers with a web page, not with {file.name}: open it in a browser, fetch the file there and "
            f"put it into {partial.path.parent}."
        )
    if file.size is not None and total is not None and total != file.size:
        partial.remove()
        raise DataError(
            f"{url} offers {total} bytes, {file.size} were expected: the file was changed at its source. Fetch "
            f"{file.name} from elsewhere and put it into {partial.path.parent}."
        )


def _require_room(folder: Path, needed: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if needed is not None and needed > free:
        raise DataError(
            f"{folder} has {free / MB:.0f} MB free, the download needs {needed / MB:.0f} MB, and as much to unpack: "
            "make room, or set paths.cache."
        )


def _require_web(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url} is not a web address: http:// or https:// is needed")


class _WebRedirects(HTTPRedirectHandler):
    """Follows redirects to web addresses alone, and never from https to http; urllib refuses file: and the like."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        after = urlsplit(newurl).scheme
        if after not in ("http", "https") or (req.type == "https" and after == "http"):
            fp.close()
            raise DataError(
                f"{req.full_url} redirects to {newurl}, which is refused: it is no web address, or less safe"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """One that knows the web and nothing else: no local files, no FTP."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPDefaultErrorHandler,
        _WebRedirects,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
