"""The metrics file of a run that is resumed, without what the resumed run will log again."""

import csv
import io
from pathlib import Path

from conspecific.files import write_text

AT_THE_END = ("test/", "report")  # how columns begin that are logged when a run ends


def rewind(file: Path, step: int, *, scored: bool = False) -> None:
    """Drop the rows of a CSV file of metrics that were logged from a training step on, and a row that was cut off.

    scored: drop also what was logged at the end of the run, all steps of which are before `step`. A file that is not
    there, or has no column of steps, is left alone.
    """
    if not file.is_file():
        return
    header, *rows = [*csv.reader(io.StringIO(file.read_text(encoding="utf-8")))] or [[]]
    if "step" not in header:
        return
    place = header.index("step")
    ends = [column for column, name in enumerate(header) if scored and name.startswith(AT_THE_END)]

    def stays(row: list[str]) -> bool:
        if len(row) != len(header) or not row[place].isdigit() or int(row[place]) >= step:
            return False
        return int(row[place]) != step - 1 or not any(row[column] for column in ends)

    kept = io.StringIO()
    csv.writer(kept, lineterminator="\n").writerows([header, *filter(stays, rows)])
    write_text(file, kept.getvalue())
