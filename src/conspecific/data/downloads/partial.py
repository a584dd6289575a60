"""A partial download, with a record of its source, so that it is resumed and never mixed with another file."""

import json
import os
from email.message import Message
from pathlib import Path

from conspecific.files import write_json


class Partial:
    """The first bytes of a file at `path`; NAME.json beside it holds their address and the version of the file."""

    def __init__(self, path: Path) -> None:
        self.path, self.record = path, path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        """Number of bytes on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    def range_headers(self, url: str, trusted: bool) -> dict[str, str]:
        """Return request headers for the remaining bytes; none if the first bytes cannot be used.

        With If-Range the server sends the whole file if it has changed. If the server gave no version to compare, the
        rest is requested only if the file is `trusted`, because a checksum is known.
        """
        known = self._known()
        if not self.size or known.get("url") != url or not (known.get("state") or trusted):
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": known["state"]} if known.get("state") else {})

    def begin(self, url: str, headers: Message, keep: bool) -> None:
        """Record the source of the following bytes; without `keep`, existing ones are removed."""
        if not keep:
            self.path.write_bytes(b"")
        write_json(self.record, {"url": url, "state": _state(headers)})

    def finish(self, target: Path) -> None:
        """Rename the complete file to `target`."""
        os.replace(self.path, target)
        self.record.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the bytes and their record."""
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)

    def _known(self) -> dict[str, str]:
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _state(headers: Message) -> str | None:
    """Return what identifies a version of the file: a strong ETag, or the date of its last change."""
    tag: str | None = headers.get("ETag")
    changed: str | None = headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else changed
