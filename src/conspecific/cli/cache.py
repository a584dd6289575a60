"""conspecific cache: what is kept from run to run, and its removal."""

import shutil
from pathlib import Path

from conspecific.config.schema import CacheConfig
from conspecific.files import nearest_existing
from conspecific.reporting.page.wording import plural
from conspecific.runs.caches import Cached, clear_caches, read_caches
from conspecific.tables import PlainConsole


def run(config: CacheConfig) -> None:
    """Remove the kinds that are named, or list all of them with their sizes."""
    console, folder = PlainConsole(), Path(config.paths.cache)
    if config.clear:
        removed = clear_caches(folder, config.clear)
        for each in removed:
            console.print(
                f"Removed {each.kind.name}: {plural(each.files, 'file')}, {size_text(each.size)}", highlight=False
            )
        console.print(
            f"{size_text(sum(each.size for each in removed))} removed from {folder}", soft_wrap=True, highlight=False
        )
        return
    found = [each for each in read_caches(folder) if each.folders]
    for each in found:
        size = f"{each.files:>7,} files  {size_text(each.size):>9}"
        console.print(f"  {each.kind.name:<12}{size}  {each.kind.meaning}", soft_wrap=True, highlight=False)
    console.print(f"Cache: {folder}, {_total(found, folder)}", soft_wrap=True, highlight=False)
    if found:
        largest = max(found, key=lambda each: each.size).kind.name
        console.print(f"Next: conspecific cache clear={largest}, or clear=all", soft_wrap=True, highlight=False)


def size_text(size: int) -> str:
    """Return a number of bytes in words.

    >>> size_text(999), size_text(2_500_000), size_text(13_000_000_000)
    ('999 bytes', '2.5 MB', '13.0 GB')
    """
    if size < 1000:
        return f"{size} bytes"
    unit, name = next((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= unit)
    return f"{size / unit:,.1f} {name}"


def _total(found: list[Cached], folder: Path) -> str:
    free = size_text(shutil.disk_usage(nearest_existing(folder)).free)
    return f"{size_text(sum(each.size for each in found))}; {free} free"
