"""What is there of a file so far, and what it was told by, so that it can be continued and never mixed."""

import json
import os
from email.message import Message
from pathlib import Path

from conspecific.files import write_json


class Partial:
    """The first bytes of a file at `path`, and beside it, in NAME.json, the address and the state they came from."""

    def __init__(self, path: Path) -> None:
        self.path, self.record = path, path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size if self.path.exists() else 0

    def range_headers(self, url: str, trusted: bool) -> dict[str, str]:
        """Headers that ask for the rest, none where the beginning is of no use.

        The server sends the whole where the file is not what it was (If-Range). One that named no state to compare is
        asked for the rest only where the file is `trusted`: a checksum will tell.
        """
        known = self._known()
        if not self.size or known.get("url") != url or not (known.get("state") or trusted):
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": known["state"]} if known.get("state") else {})

    def begin(self, url: str, headers: Message, keep: bool) -> None:
        """Note where the bytes to come are from; without `keep` those that are there go."""
        if not keep:
            self.path.write_bytes(b"")
        write_json(self.record, {"url": url, "state": _state(headers)})

    def finish(self, target: Path) -> None:
        """Give the whole file its name."""
        os.replace(self.path, target)
        self.record.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget what came."""
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)

    def _known(self) -> dict[str, str]:
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _state(headers: Message) -> str | None:
    """What tells one state of a file from the next: a strong ETag, or the date of its last change."""
    tag: str | None = headers.get("ETag")
    changed: str | None = headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else changed
