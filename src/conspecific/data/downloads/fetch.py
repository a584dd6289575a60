"""Downloading one file over HTTP: interrupted downloads are resumed, and only a verified file gets its name."""

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

ATTEMPTS = 5  # in a row without a new byte
LONGEST_PAUSE = 60.0  # seconds
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP status codes of errors that may pass
Report = Callable[[int, int | None], None]


class _Interrupted(Exception):
    """The connection or the server failed in a way that may pass."""


def fetch(file: RemoteFile, folder: Path, *, pause: float = 1.0, timeout: float = 60.0) -> Path:
    """Return the path of a file in `folder`, downloaded unless it exists.

    An interrupted download is kept as NAME.partial and resumed, by a later run too. Only one process at a time may
    fetch into a folder, see `obtain`.

    pause: seconds before an attempt without a new byte is repeated; it doubles each time, for ATTEMPTS attempts.
    timeout: seconds without a byte after which an attempt ends.

    Raises DataError if the server does not answer, answers with something else, or the disk is full, and if size or
    checksum differ from the expected ones; the downloaded file is removed then.
    """
    target, partial = folder / file.name, Partial(folder / f"{file.name}.partial")
    if target.exists():
        require_same(target, file)
        return target
    if file.url is None:
        raise DataError(f"{file.name} cannot be downloaded: put it into {folder} by hand")
    _require_web(file.url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(file, file.url, partial, pause, timeout)
    except OSError as error:
        raise DataError(f"{partial.path} cannot be written: {error}") from error
    if wrong := mismatch(partial.path, file):
        partial.remove()
        raise DataError(
            f"{file.url} is not the expected file: {wrong}. The download is removed. Run again; if that fails too, the "
            f"file was changed at its source: get {file.name} from elsewhere and put it into {folder}."
        )
    partial.finish(target)
    return target


def _download(file: RemoteFile, url: str, partial: Partial, pause: float, timeout: float) -> None:
    """Fill `partial`, and resume after every failure that may pass."""
    failures, furthest = 0, partial.size
    with progress_bar() as progress:
        task = progress.add_task(f"Downloading {file.name} (MB)", total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done / MB, total=None if total is None else total / MB)

        while file.size is None or partial.size != file.size:
            try:
                _transfer(file, url, partial, timeout, report)
                return
            except _Interrupted as cut:
                failures = 1 if partial.size > furthest else failures + 1
                furthest = max(furthest, partial.size)
                if failures == ATTEMPTS:
                    raise DataError(_gave_up(file, url, partial, cut)) from cut
                time.sleep(min(pause * 2 ** (failures - 1), LONGEST_PAUSE))


def _gave_up(file: RemoteFile, url: str, partial: Partial, cut: _Interrupted) -> str:
    kept = f"The first {partial.size} bytes are kept: run again to resume" if partial.size else "Run again later"
    return (
        f"{url} could not be downloaded in {ATTEMPTS} attempts in a row: {cut}. {kept}, or put {file.name} into "
        f"{partial.path.parent} by hand."
    )


def _transfer(file: RemoteFile, url: str, partial: Partial, timeout: float, report: Report) -> None:
    """Request the missing bytes once and write them. Raises _Interrupted if fewer come than were announced."""
    start, wanted = partial.size, partial.range_headers(url, trusted=file.checksum is not None)
    response = _open(
        Request(url, headers={"User-Agent": "conspecific", "Accept-Encoding": "identity"} | wanted), timeout
    )
    if response is None:
        partial.remove()
        raise _Interrupted("the server does not have this range of the file")
    with response:
        if response.status == 206:
            total = _total_of_part(response.headers, start)
            if not wanted or total is None:
                partial.remove()
                raise _Interrupted("the server sent another range of the file than requested")
        else:  # the whole file: it was changed, or the server does not support ranges
            start = 0
            total = _length(response.headers)
        _require_expected(file, url, response, total, partial)
        partial.begin(url, response.headers, keep=start > 0)
        _require_room(partial.path.parent, None if total is None else total - start)
        _write(_blocks(response), partial, start, total, report)
    if total is not None and partial.size < total:
        raise _Interrupted(f"the connection was closed after {partial.size} of {total} bytes")


def _write(blocks: Iterator[bytes], partial: Partial, start: int, total: int | None, report: Report) -> None:
    done = start
    with partial.path.open("ab") as out:
        for block in blocks:
            out.write(block)
            done += len(block)
            report(done, total)


def _open(request: Request, timeout: float) -> Any | None:
    """Return the response, or None if the requested range does not exist. Raises DataError or _Interrupted."""
    try:
        return _opener().open(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            return None
        if error.code in TEMPORARY:
            raise _Interrupted(f"it answered {error.code} {error.reason}") from error
        raise DataError(
            f"{request.full_url} answered {error.code} {error.reason}. The file may have moved: get it from its "
            "source and put it into the folder of downloads, or set data.mirror= or data.root=."
        ) from error
    except (URLError, OSError, HTTPException) as error:
        raise _Interrupted(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _blocks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, HTTPException) as error:
            raise _Interrupted(str(error) or type(error).__name__) from error
        if not block:
            return
        yield block


def _length(headers: Message) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _total_of_part(headers: Message, start: int) -> int | None:
    """Return the size of the whole file if the range is from `start` to its end, else None."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", "").strip())
    if found is None:
        return None
    first, last, total = map(int, found.groups())
    return total if first == start and last == total - 1 else None


def _require_expected(file: RemoteFile, url: str, response: Any, total: int | None, partial: Partial) -> None:
    """Raise DataError, before anything large is downloaded, if the answer cannot be the file."""
    if response.headers.get_content_type() == "text/html" and not file.name.endswith((".html", ".htm")):
        partial.remove()
        raise DataError(
            f"{url} answers with a web page, not with {file.name}: open it in a browser, download the file there and "
            f"put it into {partial.path.parent}."
        )
    if file.size is not None and total is not None and total != file.size:
        partial.remove()
        raise DataError(
            f"{url} has {total} bytes, {file.size} were expected: the file was changed at its source. Get "
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
    """Follows redirects to web addresses only, and never from https to http; urllib alone would follow ftp."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        after = urlsplit(newurl).scheme
        if after not in ("http", "https") or (req.type == "https" and after == "http"):
            fp.close()
            raise DataError(
                f"{req.full_url} redirects to {newurl}, which is refused: it is not a web address, or not encrypted"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """Return an opener for http and https only: no local files, no FTP."""
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
