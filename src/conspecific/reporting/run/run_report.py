"""Writes the report of a run directory."""

from pathlib import Path

from PIL import Image

from conspecific.images import open_rgb
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Subject
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_record


def report_run(run: RunDirectory) -> Subject:
    """Write `report.html` and the images of the example queries into the directory of a finished run."""
    record = read_record(run.path)
    root = Path(record.counts.data_root)

    def open_image(path: str) -> Image.Image:
        return open_rgb(root / path, shorter_side=224)

    subject = Subject(record, open_image)
    write_report(run.report, subject)
    return subject
