"""A file to download, and the check that a file is that one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from conspecific.errors import DataError
from conspecific.progress import progress_bar

BLOCK = 1 << 20
MB = 1e6  # progress bars count in millions of bytes


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a data set.

    url: http or https address; None if it must be downloaded by hand.
    size: bytes, None if unknown. checksum: `md5:...` or `sha256:...` in hexadecimal, None if unknown.
    named: its name on disk, if the address does not end in it.
    into: the folder, relative to that of the data set, that it is unpacked or copied to.
    """

    url: str | None
    size: int | None = None
    checksum: str | None = None
    named: str | None = None
    into: str = ""

    def __post_init__(self) -> None:
        assert self.url is not None or self.named is not None
        assert self.checksum is None or self.checksum.partition(":")[0] in ("md5", "sha256")

    @property
    def name(self) -> str:
        """Its name on disk.

        >>> RemoteFile("https://example.org/data/birds.tgz?download=1").name
        'birds.tgz'
        """
        return self.named or PurePosixPath(urlsplit(str(self.url)).path).name


def checksum(path: Path, kind: str = "sha256") -> str:
    """Return the checksum of a file as `KIND:HEX`, and show progress."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream, progress_bar() as progress:
        task = progress.add_task(f"Checking {path.name} (MB)", total=path.stat().st_size / MB)
        while block := stream.read(BLOCK):
            digest.update(block)
            progress.advance(task, len(block) / MB)
    return f"{kind}:{digest.hexdigest()}"


def mismatch(path: Path, file: RemoteFile) -> str | None:
    """Say how a file differs from the expected one; None if size and checksum, where known, are equal."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes, {file.size} were expected"
    if file.checksum is not None:
        found = checksum(path, file.checksum.partition(":")[0])
        if found != file.checksum.lower():
            return f"its checksum is {found}, {file.checksum} was expected"
    return None


def require_same(path: Path, file: RemoteFile) -> None:
    """Raise DataError if an existing file is not the expected one. The file is not changed."""
    if wrong := mismatch(path, file):
        raise DataError(f"{path} is not the expected file: {wrong}. Remove it, or replace it with the right one.")
