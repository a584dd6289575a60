"""What is to be fetched, and whether a file is the one that was meant."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from conspecific.errors import DataError
from conspecific.progress import progress_bar

BLOCK = 1 << 20
MB = 1e6  # bars count in millions of bytes


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a data set.

    url: http or https; None where a person has to fetch it. size: bytes, None where no source states it. checksum:
    `md5:...` or `sha256:...` in hex, None where no source states one. named: what it is kept as, where the address
    does not end in its name. into: the folder, inside the data set's, that it is unpacked or copied to.
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
        """What it is kept as.

        >>> RemoteFile("https://example.org/data/birds.tgz?download=1").name
        'birds.tgz'
        """
        return self.named or PurePosixPath(urlsplit(str(self.url)).path).name


def checksum(path: Path, kind: str = "sha256") -> str:
    """Return `KIND:HEX` of a file's bytes, with a bar for large ones."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream, progress_bar() as progress:
        task = progress.add_task(f"Checking {path.name} (MB)", total=path.stat().st_size / MB)
        while block := stream.read(BLOCK):
            digest.update(block)
            progress.advance(task, len(block) / MB)
    return f"{kind}:{digest.hexdigest()}"


def mismatch(path: Path, file: RemoteFile) -> str | None:
    """Say how a file differs from the one that was meant; None where nothing known speaks against it."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes, {file.size} were expected"
    if file.checksum is not None:
        found = checksum(path, file.checksum.partition(":")[0])
        if found != file.checksum.lower():
            return f"its checksum is {found}, {file.checksum} was expected"
    return None


def require_same(path: Path, file: RemoteFile) -> None:
    """Raise DataError where a file that lies there already is not the one that was meant. It is left alone."""
    if wrong := mismatch(path, file):
        raise DataError(f"{path} is not the file that is needed: {wrong}. Remove it, or put the right one there.")
