"""Names of species, files and runs are shown by trackers as what they are."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from conspecific.data.sources import from_folder
from conspecific.training import tracked_images
from conspecific.training.logged import log_report
from conspecific.training.loggers import FailSafeLogger, csv_logger, tensorboard_logger, wandb_logger

from .offline import values, written_by_wandb

NAMES = ["[", "[red]", "$\\frac{", "=1+1", "\x1b[2J", ":bird:", "{{7*7}}", "<b>", "\u202egnp", "two\tparts\nof it"]
SHOWN = ["[", "[red]", "$\\frac{", "=1+1", r"\x1b[2J", ":bird:", "{{7*7}}", "<b>", r"\u202egnp", "two parts of it"]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of a run as trackers show: images whose species and files have such names."""
    for shade, name in enumerate(NAMES):
        (tmp_path / "birds" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (20 * shade, 0, 0)).save(tmp_path / "birds" / name / f"{name}.png")
    table = from_folder(str(tmp_path / "birds")).table.select("path", "label")
    answers = {
        "paths": table["path"],
        "labels": table["label"],
        "scores": [0.5] * len(NAMES),
        "hits": [True] * len(NAMES),
    }
    lists = [pl.lit(pl.Series([list(found)])).first().alias(f"neighbor_{name}") for name, found in answers.items()]
    queries = table.with_columns(*lists, pl.lit(0.5).alias("map@r"))
    monkeypatch.setattr(
        tracked_images, "load", lambda _: SimpleNamespace(embed=lambda paths: np.eye(len(paths), 3, dtype=np.float32))
    )
    return SimpleNamespace(
        config=SimpleNamespace(monitor="map@r"),
        counts=SimpleNamespace(data_root=str(tmp_path / "birds")),
        test={"model": SimpleNamespace(per_query=queries)},
        best="model",
        path=tmp_path,
    )


def test_each_point_of_the_projector_has_its_species(record: Any, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "events")) as writer:
        tracked_images.project(record, writer, 1)
    [vectors] = (tmp_path / "events").rglob("tensors.tsv")
    assert len(vectors.read_text().splitlines()) == len(NAMES)
    assert sorted(vectors.with_name("metadata.tsv").read_text().splitlines()) == sorted(SHOWN)


def test_a_path_of_the_report_that_is_no_utf8_stops_no_logger(tmp_path: Path) -> None:
    for logger in (csv_logger(str(tmp_path)), tensorboard_logger(str(tmp_path))):
        fail_safe = FailSafeLogger(logger, "tracker", Console(quiet=True))
        fail_safe.log_report(tmp_path / "*runs*\x1b\udcff" / "report.html", [])
        fail_safe.close("success")
        assert fail_safe.works
    [table], [events] = tmp_path.rglob("metrics.csv"), tmp_path.rglob("events.out.*")
    path = rf"{tmp_path}/*runs*\x1b\udcff/report.html"
    assert path in table.read_text() and f"    {path}".encode() in events.read_bytes(), "code, and no Markdown"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # wandb's own
def test_a_run_of_wandb_has_the_names_as_they_are(record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = wandb_logger("project", " ".join(NAMES), str(tmp_path / "<b>"))
    fail_safe = FailSafeLogger(logger, "wandb", Console(quiet=True))
    fail_safe.log_hyperparams({"data": {"root": NAMES}})
    fail_safe._try(lambda: logger.experiment.log({"test/answers": tracked_images.answers_table(record)}))
    fail_safe._try(lambda: log_report(logger, Path(NAMES[4]), [], 1))
    fail_safe.close("success")
    assert fail_safe.works
    [file] = (tmp_path / "<b>").rglob("*.wandb")
    ended, records = time.monotonic() + 60, written_by_wandb(file)
    while not any(each.HasField("exit") for each in records):
        assert time.monotonic() < ended, f"{file.stat().st_size} bytes"
        time.sleep(0.1)
        records = written_by_wandb(file)
    [run] = {each.run.display_name for each in records if each.HasField("run")}
    assert run == " ".join([*NAMES[:4], SHOWN[4], *NAMES[5:8], SHOWN[8], NAMES[9]])
    [config] = [values(each.config.update) for each in records if each.HasField("config")]
    assert config["data"] == {"root": NAMES}
    [artifact] = [each.artifact for each in records if each.HasField("artifact")]
    [table] = [each.local_path for each in artifact.manifest.contents if each.path.endswith(".table.json")]
    assert sorted(row[1] for row in json.loads(Path(table).read_text())["data"]) == sorted(SHOWN)
    summary = {name: value for each in records for name, value in values(each.summary.update).items()}
    assert summary["report"] == SHOWN[4]
