"""Writing the set to disk as an image-folder tree, whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from PIL import Image

from .names import species_names
from .scene import DRAWING_VERSION, draw_image

RECORD = "butterflies.json"
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

    `workers` processes draw (None: one per core, 0: this process); `progress` hears how many images are done.
    The tree is drawn beside `root` and renamed, so `root` is never half written. Raises ValueError for bad arguments
    and FileExistsError when `root` holds anything else.
    """
    _check(species, images, size, seed, workers)
    root = Path(root)
    record = {"species": species, "images": images, "size": size, "seed": seed, "drawing": DRAWING_VERSION}
    if _is_complete(root, record):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.parent / f".{root.name}.{uuid.uuid4().hex}.part"
    part.mkdir()
    try:
        tasks = list(_tasks(part, species, images, size, seed))
        done = 0
        for count in _draw_all(tasks, os.cpu_count() or 1 if workers is None else workers):
            done += count
            if progress is not None:
                progress(done)
        (part / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        _put_in_place(part, root, record)
    finally:
        shutil.rmtree(part, ignore_errors=True)
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
    """Whether `root` holds the set; FileExistsError if it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != record:
        kind = "other files" if found is None else f"butterflies drawn with {found}"
        raise FileExistsError(f"{root} already holds {kind}, needed {record}: choose another folder or remove it")
    return True


def _put_in_place(part: Path, root: Path, record: dict[str, int]) -> None:
    try:
        part.rename(root)
    except OSError:
        # Another process may have put the same set there in the meantime.
        if not _is_complete(root, record):
            raise


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


def _draw_all(tasks: list[Task], workers: int) -> Iterator[int]:
    """Draw every task, yielding the number of images of each as it is done."""
    if workers == 0:
        yield from map(_draw, tasks)
        return
    # Forked children of a process with running threads (torch's, say) can hang.
    context = multiprocessing.get_context("spawn")
    left = dict.fromkeys(tasks)
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        try:
            running = {pool.submit(_draw, task): task for task in tasks}
            for done in as_completed(running):
                count = done.result()
                del left[running[done]]
                yield count
        except BrokenProcessPool:
            # Spawned workers cannot start where the main module cannot be imported anew (a script read from stdin):
            # what they left is drawn here.
            pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    yield from map(_draw, left)
