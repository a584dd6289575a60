"""The metrics file of a run, which a resumed run continues without what it will log again."""

import csv
import io
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from conspecific.files import write_text

METRICS = "metrics.csv"
AT_THE_END = ("test/", "report")  # how columns begin that are logged when a run ends


class WholeCsvLogger(CSVLogger):
    """Lightning's logger, which otherwise deletes the metrics file of an earlier process, and here appends to it."""

    @property
    def experiment(self) -> ExperimentWriter:
        self._experiment = self._experiment or MetricsFile(self.log_dir)
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment


class MetricsFile(ExperimentWriter):
    """The writer of such a logger. Where a column is new, the file is replaced as a whole, not rewritten in place."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        if (file := Path(self.metrics_file_path)).is_file():
            self.metrics_keys = file.read_text(encoding="utf-8").partition("\n")[0].strip().split(",")

    def _check_log_dir_exists(self) -> None:
        """Lightning deletes the file here."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        file, whole = Path(self.metrics_file_path), io.StringIO()
        writer = csv.DictWriter(whole, fieldnames)
        writer.writeheader()
        writer.writerows(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
        write_text(file, whole.getvalue())


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
