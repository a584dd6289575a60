"""The folder of a data set: given by the user, or downloaded, verified and unpacked on first use."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from rich.console import Console

from conspecific.data.downloads.fetch import fetch
from conspecific.data.downloads.files import RemoteFile, checksum
from conspecific.data.downloads.lock import alone
from conspecific.data.downloads.unpack import is_archive, unpack
from conspecific.errors import DataError
from conspecific.files import remove_abandoned, write_json, write_whole_folder

RECORD = "downloaded.json"


@dataclass(frozen=True, slots=True)
class Collection:
    """A data set as its authors publish it.

    name: of its folder and its configuration. title: for messages.
    files: small ones first, so that errors come early.
    needed: names that its folder must hold; `a|b` means either of them.
    form: `needed` in words, if the names do not suffice.
    terms: of use. source: its web page. step: instructions for files without an address.
    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    needed: tuple[str, ...]
    terms: str
    source: str
    step: str = ""
    form: str = ""

    @property
    def held(self) -> str:
        """What its folder must hold, in words."""
        return self.form or ", ".join(self.needed).replace("|", " or ")


def obtain(collection: Collection, cache: str, root: str | None = None, mirror: str | None = None) -> Path:
    """Return the folder that holds a data set.

    cache: folder of all caches; the data set is in its datasets/NAME, unpacked on first use from archives in its
        downloads/NAME, which are downloaded if they are missing and then kept.
    root: the folder of an existing copy; then nothing is downloaded.
    mirror: address of a folder with files of the same names.

    Raises DataError if the folder is incomplete or a file must be downloaded by hand, and as `fetch` and `unpack` do.
    """
    if root is not None:
        return _complete(collection, Path(root).expanduser())
    base = Path(cache).expanduser().resolve()
    folder, downloads = base / "datasets" / collection.name, base / "downloads" / collection.name
    if not folder.exists():
        console = Console(stderr=True)
        with alone(base / "downloads" / f"{collection.name}.lock", lambda: _wait(collection, console)):
            if not folder.exists():  # not made by another process while this one waited
                _download(_at(collection, mirror), folder, downloads, console)
    return _complete(collection, folder)


def _wait(collection: Collection, console: Console) -> None:
    console.print(f"Another process is downloading {collection.name}; waiting for it.", soft_wrap=True, markup=False)


def _at(collection: Collection, mirror: str | None) -> Collection:
    """Return the data set with the addresses of a mirror."""
    if mirror is None:
        return collection
    files = [
        replace(file, url=f"{mirror.rstrip('/')}/{quote(file.name)}", named=file.name) for file in collection.files
    ]
    return replace(collection, files=tuple(files))


def _download(collection: Collection, folder: Path, downloads: Path, console: Console) -> None:
    _require_by_hand(collection, downloads)
    missing = [file for file in collection.files if not (downloads / file.name).exists()]
    if missing:
        known = sum(file.size or 0 for file in missing)
        size = f"{known / 1e9:.2f} GB" if all(file.size for file in missing) else f"over {known / 1e9:.2f} GB"
        console.print(f"{collection.title}: downloading {size} into {downloads}", soft_wrap=True, markup=False)
        console.print(f"Terms of use: {collection.terms} See {collection.source}", soft_wrap=True, markup=False)
    fetched = [fetch(file, downloads) for file in collection.files]
    remove_abandoned(folder)  # unpacked data sets are large, and the lock keeps other processes out
    with write_whole_folder(folder, keep_existing=True) as part:
        for file, path in zip(collection.files, fetched, strict=True):
            into = part / file.into
            into.mkdir(parents=True, exist_ok=True)
            if is_archive(path):
                unpack(path, into)
            else:
                shutil.copyfile(path, into / file.name)
        record = {file.name: _origin(file, path, console) for file, path in zip(collection.files, fetched, strict=True)}
        write_json(part / RECORD, record)
    console.print(f"{collection.name} is in {folder}; {downloads} is no longer needed", soft_wrap=True, markup=False)


def _origin(file: RemoteFile, path: Path, console: Console) -> dict[str, str | int | None]:
    """Return address, size and checksum of a file; the checksum is computed if it was unknown."""
    found = file.checksum
    if found is None:
        found = checksum(path)
        console.print(f"{file.name}: no checksum is published; this one is {found}", soft_wrap=True, markup=False)
    return {"url": file.url, "size": path.stat().st_size, "checksum": found}


def _require_by_hand(collection: Collection, downloads: Path) -> None:
    """Raise DataError that names every file to be downloaded by hand, and its folder."""
    absent = [file.name for file in collection.files if file.url is None and not (downloads / file.name).exists()]
    if absent:
        raise DataError(
            f"{collection.title} must be downloaded by hand. {collection.step} Then put {', '.join(absent)} "
            f"into {downloads} and run again; or set data.root=FOLDER to a folder with {collection.held}. "
            f"Terms of use: {collection.terms} See {collection.source}"
        )


def _complete(collection: Collection, folder: Path) -> Path:
    absent = [names for names in collection.needed if not any((folder / name).exists() for name in names.split("|"))]
    if absent:
        found = sorted(path.name for path in folder.iterdir())[:10] if folder.is_dir() else None
        there = "it is not a folder" if found is None else f"found: {', '.join(found) or 'nothing'}"
        raise DataError(
            f"{folder} does not hold {collection.title}: {absent[0].replace('|', ' or ')} is missing ({there}). It "
            f"must hold {collection.held}. Set data.root= to the right folder, or remove this one and run again."
        )
    return folder.resolve()
