"""Queries of the best run of each test, with what the baseline and the run retrieve for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from PIL import Image

from conspecific.images import open_rgb
from conspecific.reporting.dashboard.curves import task_name
from conspecific.reporting.page.answers import Answer
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.reporting.run.examples import Example, paired, selected_queries
from conspecific.runs.directory import RunDirectory
from conspecific.runs.overview import DAMAGE, ListedRun
from conspecific.runs.record import best_name, read_result

TASKS, QUERIES = 2, 2  # tests, and queries of each: every one shows twenty images


@dataclass(frozen=True, slots=True)
class Shown:
    """The queries of one run. problem: why there are none."""

    task: str
    run: str
    examples: tuple[Example, ...] = ()
    problem: str = ""


def shown_examples(tasks: Sequence[Sequence[ListedRun]]) -> tuple[list[Shown], Thumbnails]:
    """Return queries of the first tests, and their images: a path there begins with the number of its test."""
    leaders = [runs[0] for runs in tasks[:TASKS]]

    def open_image(path: str) -> Image.Image:
        number, _, inside = path.partition("/")
        return open_rgb(leaders[int(number)].data_root / inside, shorter_side=224)

    found = [_shown(task_name(tasks[number]), run, number) for number, run in enumerate(leaders)]
    return found, Thumbnails(open_image)


def _shown(task: str, run: ListedRun, number: int) -> Shown:
    if not run.data_root.is_dir():
        return Shown(task, run.name, problem="its images are no longer at their place")
    record = RunDirectory(run.path)
    try:
        results = [read_result(record, "test", name) for name in ("flatten", best_name(run.selection is not None))]
        found = selected_queries(paired(*results))[:QUERIES]
    except (*DAMAGE, pl.exceptions.PolarsError) as error:  # the page is written without them, and says why
        return Shown(
            task,
            run.name,
            problem=f"its results cannot be shown ({next(iter(str(error).splitlines()), type(error).__name__)})",
        )
    return Shown(task, run.name, tuple(_numbered(example, number) for example in found))


def _numbered(example: Example, number: int) -> Example:
    def numbered(answers: Sequence[Answer]) -> tuple[Answer, ...]:
        return tuple(replace(answer, path=f"{number}/{answer.path}") for answer in answers)

    path = f"{number}/{example.path}"
    return replace(example, path=path, before=numbered(example.before), after=numbered(example.after))
