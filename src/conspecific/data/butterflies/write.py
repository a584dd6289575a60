"""Writing the butterflies to disk as an image folder, whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from PIL import Image

from conspecific.errors import DataError
from conspecific.files import write_json, write_whole_folder
from conspecific.images import cores

from .names import species_names
from .scene import DRAWING_VERSION, draw_image

RECORD = ".butterflies.json"  # hidden, so that it is not counted among the files that are no images
QUALITY = 92
CHUNK = 10
Task = tuple[str, int, int, int, range]
"""Folder, seed, species, size in pixels, image numbers."""


def write_butterflies(
    root: Path,
    *,
    species: int = 100,
    images: int = 20,
    size: int = 224,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw the synthetic set into `root/<Name>/<nnnn>.jpg` and return `root`; return at once if it is already there.

    workers: number of drawing processes; None is one per core, 0 draws in this process.
    progress: called with the number of images drawn so far.

    Raises ValueError for arguments out of range, FileExistsError if `root` holds anything else, and DataError if some
    of its images are gone or empty.
    """
    _check(species, images, size, seed, workers)
    root = Path(root)
    record = {"species": species, "images": images, "size": size, "seed": seed, "drawing": DRAWING_VERSION}
    if _is_complete(root, record):
        return root
    try:
        with write_whole_folder(root, keep_existing=True) as part:
            done = 0
            tasks = list(_tasks(part, species, images, size, seed))
            for count in _draw_all(tasks, cores() if workers is None else workers):
                done += count
                if progress is not None:
                    progress(done)
            write_json(part / RECORD, record)
    except FileExistsError:  # another process may have written the same set in the meantime
        if not _is_complete(root, record):
            raise
    return root


def _check(species: int, images: int, size: int, seed: int, workers: int | None) -> None:
    for name, found, least in (
        ("species", species, 2),
        ("images", images, 2),
        ("size", size, 32),
        ("seed", seed, 0),
        ("workers", workers or 0, 0),
    ):
        if found < least:
            raise ValueError(f"{name} must be at least {least}, found {found}")


def _is_complete(root: Path, record: dict[str, int]) -> bool:
    """Return whether `root` holds the set. Raises FileExistsError if it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != record:
        kind = "other files" if found is None else f"butterflies drawn with {found}"
        raise FileExistsError(f"{root} holds {kind}, needed {record}: choose another folder or remove it")
    drawn, wanted = sum(path.stat().st_size > 0 for path in root.glob("*/*.jpg")), record["species"] * record["images"]
    if drawn != wanted:
        raise DataError(f"{root} holds {drawn} of {wanted} butterflies: remove the folder, and they are drawn again")
    return True


def _tasks(part: Path, species: int, images: int, size: int, seed: int) -> Iterator[Task]:
    for number, name in enumerate(species_names(seed, species)):
        folder = part / name
        folder.mkdir()
        for first in range(0, images, CHUNK):
            yield str(folder), seed, number, size, range(first, min(first + CHUNK, images))


def _draw(task: Task) -> int:
    folder, seed, species, size, numbers = task
    for number in numbers:
        image = Image.fromarray(draw_image(seed, species, number, size))
        image.save(Path(folder) / f"{number:04d}.jpg", quality=QUALITY)
    return len(numbers)


def _end_with_parent() -> None:
    """Have this worker process end when the process that started it does, in whatever way."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "it runs in worker processes"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _draw_all(tasks: list[Task], workers: int) -> Iterator[int]:
    """Draw every task and yield the number of images of each when it is done."""
    if workers == 0:
        yield from map(_draw, tasks)
        return
    # Forked children of a process with running threads (torch's, say) can hang.
    context = multiprocessing.get_context("spawn")
    left = dict.fromkeys(tasks)
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _end_with_parent) as pool:
        try:
            running = {pool.submit(_draw, task): task for task in tasks}
            for done in as_completed(running):
                count = done.result()
                del left[running[done]]
                yield count
        except BrokenProcessPool:
            # Spawned workers cannot start if the main module cannot be imported again (a script read from stdin):
            # the remaining images are drawn in this process.
            pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    yield from map(_draw, left)
