"""The seal of an index: a keyed hash, by which a machine knows the files that it wrote itself.

Checksums find damage, but whoever changes a file can change its checksum too. FAISS is not safe to read from bytes that
someone else has chosen, so its files are read only behind the seal of this machine.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

KEY = "index.key"
KEY_BYTES = 32


def seal(content: bytes, cache: Path) -> str:
    """Return the HMAC-SHA256 of some bytes in hexadecimal, by the key in `cache`, which is made if it is missing."""
    return _digest(_read_key(cache) or _make_key(cache), content)


def is_sealed(content: bytes, given: str, cache: Path) -> bool:
    """Whether a seal of some bytes was made with the key in `cache`."""
    key = _read_key(cache)
    return key is not None and hmac.compare_digest(_digest(key, content).encode(), given.encode())


def _digest(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _read_key(cache: Path) -> bytes | None:
    file = cache / KEY
    key = file.read_bytes() if file.is_file() else b""
    return key if len(key) == KEY_BYTES else None


def _make_key(cache: Path) -> bytes:
    """Make a key that its owner alone can read. Of two processes that do so at once, the last one's stays."""
    cache.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{KEY}-", dir=cache)  # mode 0600
    key = secrets.token_bytes(KEY_BYTES)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(key)
    os.replace(temporary, cache / KEY)
    return key
