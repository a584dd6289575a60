"""Loggers write what they should, and never stop a run."""

import csv
import importlib
import io
import json
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger, Logger
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError
from conspecific.reporting.run.report import report_run
from conspecific.runs.record import RunRecord, read_record
from conspecific.training import loggers
from conspecific.training.loggers import (
    FailSafeLogger,
    WandbRun,
    csv_logger,
    open_loggers,
    tensorboard_logger,
    wandb_logger,
)
from conspecific.training.metrics_file import rewind
from conspecific.training.train import train

from .offline import values, written_by_wandb

TINY = [
    "loss=triplet",
    "data.species=4",
    "data.images=8",
    "data.size=64",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.classes_per_batch=2",
    "loader.workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
]


class Failing(Logger):
    """A tracker whose server is down."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = 0

    @property
    def name(self) -> str:
        return "failing"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.tried += 1
        raise OSError("no route to host")

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no home to find one in, and an error for whoever calls another machine."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("the network was used"))


def run_with(logger: str, folder: Path, cache: Path, *overrides: str) -> str:
    """Train with this option of the group logger; return what was printed."""
    console = Console(record=True, file=io.StringIO(), width=200)
    places = [f"paths.cache={cache}", f"paths.run={folder / 'run'}", f"logger={logger}"]
    config = typed(compose_config("train", [*TINY, *places, *overrides]), TrainConfig)
    train(config, (), console, lambda record: report_run(record.directory))
    return console.export_text()


class Recording(Logger):
    """A tracker that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[dict[str, Any], int | None]] = []
        self.hyperparameters: dict[str, Any] = {}
        self.statuses: list[str] = []

    @property
    def name(self) -> str:
        return "recording"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert not self.statuses, "nothing is logged after it was finalized"
        self.rows.append((dict(metrics), step))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.hyperparameters = params

    def finalize(self, status: str) -> None:
        self.statuses.append(status)


def test_a_logger_that_fails_is_reported_once_and_not_used_again() -> None:
    console = Console(record=True, file=io.StringIO(), width=200)
    failing = Failing()
    fail_safe = FailSafeLogger(failing, "tracker", console)
    fail_safe.log_hyperparams({"seed": 1})
    for step in range(3):
        fail_safe.log_metrics({"loss": 1.0}, step)
    fail_safe.finalize("success")
    assert failing.tried == 1
    told = console.export_text()
    assert told == "logger.tracker failed and is not used for the rest of the run. OSError: no route to host\n"


def record_in_place_of_csv(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have logger=csv build `recording`: a function of the module, as only those may be named."""

    def csv_logger(save_dir: str) -> Logger:
        return recording

    csv_logger.__module__ = loggers.__name__
    monkeypatch.setattr(loggers, "csv_logger", csv_logger)


def test_loggers_stay_open_until_the_test_is_scored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording()
    record_in_place_of_csv(recording, monkeypatch)
    run_with("csv", tmp_path, cache, "trainer.max_epochs=2")
    assert recording.statuses == ["success"]
    assert recording.hyperparameters["loader"]["image_size"] == 64
    record = read_record(tmp_path / "run")
    row, step = recording.rows[-1]
    expected = {f"test/{name}": value for name, value in record.test["model"].metrics.items()}
    for reference in ("flatten", "pooled"):
        gains = {each.metric: each.interval.mean for each in record.gains[reference]}
        expected |= {f"test/{name}_gain_over_{reference}": value for name, value in gains.items()}
    assert row == expected
    assert step == recording.rows[-2][1] == 1


def test_a_run_that_fails_closes_its_loggers_as_failed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording()
    record_in_place_of_csv(recording, monkeypatch)
    config = typed(compose_config("train", [f"paths.cache={cache}", f"paths.run={tmp_path}"]), TrainConfig)
    with pytest.raises(ConnectionError), open_loggers(config, Console()) as opened:
        opened[0].finalize("success")  # as Lightning does when training ends
        assert recording.statuses == []
        raise ConnectionError
    assert recording.statuses == ["failed"]


def test_an_interruption_is_not_swallowed() -> None:
    class Interrupted(Failing):
        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FailSafeLogger(Interrupted(), "tracker", Console()).log_metrics({"loss": 1.0})


@pytest.mark.usefixtures("no_network")
def test_a_run_goes_on_when_wandb_fails(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("wandb is ill")

    monkeypatch.setattr("wandb.init", fail)
    printed = run_with("wandb", tmp_path, cache)
    assert printed.count("logger.wandb failed and is not used for the rest of the run. RuntimeError: wandb is ill") == 1
    assert "val/recall@1" in (tmp_path / "run/logs/csv/metrics.csv").read_text()
    assert (tmp_path / "run/weights.safetensors").is_file()


def test_the_csv_file_of_a_resumed_run_is_continued(tmp_path: Path) -> None:
    for metrics in ({"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0, "val/recall@1": 0.5}):
        logger: CSVLogger = csv_logger(str(tmp_path))
        logger.log_metrics(metrics, step=7)
        logger.save()
    rows = (tmp_path / "csv" / "metrics.csv").read_text().split()
    assert rows == ["loss,step,val/recall@1", "3.0,7,", "2.0,7,", "1.0,7,0.5"]


def test_a_csv_file_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may be killed before it has written what the one before had, or while a new column moves all others."""
    file = tmp_path / "csv" / "metrics.csv"
    file.parent.mkdir()
    file.write_text("loss,step\n3.0,7\n")
    logger = csv_logger(str(tmp_path))
    logger.log_metrics({"val/recall@1": 0.5}, step=8)
    assert file.read_text() == "loss,step\n3.0,7\n"
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        logger.save()
    assert file.read_text() == "loss,step\n3.0,7\n"


def test_tensorboard_writes_event_files(tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("tensorboard")
    run_with("tensorboard", tmp_path, cache)
    [events] = (tmp_path / "run/logs/tensorboard").glob("events.out.tfevents.*")
    written = events.read_bytes()
    report = str(tmp_path / "run/report.html")
    lines = "val/map@r", "val/map@r_pooled", "val/map@r_flatten"
    layout = "custom_scalars", "^val/map@r(_flatten|_pooled)?$"
    for logged in (*lines, *layout, "test/map@r", "test/map@r_gain_over_pooled", report):
        assert logged.encode() in written
    images = sorted(path.stem for path in (tmp_path / "run/images").glob("*.png"))
    assert images and all(f"test/examples/{name}".encode() in written for name in images)
    [vectors] = (tmp_path / "run/logs/tensorboard").glob("*/test/tensors.tsv")
    record = read_record(tmp_path / "run")
    queries = record.test["model"].per_query
    assert np.loadtxt(vectors).shape == (queries.height, record.test["model"].facts["dimensions"])
    species = vectors.with_name("metadata.tsv").read_text().split("\n")
    assert sorted(filter(None, species)) == queries["label"].sort().to_list()
    [csv_file] = (tmp_path / "run/logs/csv").glob("*.csv")
    with csv_file.open() as file:
        *_, test, report = csv.DictReader(file)
    assert float(test["test/map@r"]) == read_record(tmp_path / "run").test["model"].metrics["map@r"]
    assert report["report"] == str(tmp_path / "run/report.html")


def test_tensorboard_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[tensorboard\]'"):
        tensorboard_logger("logs")


@pytest.mark.parametrize(
    ("environment", "netrc", "mode"),
    [
        ({}, None, "offline"),
        ({"WANDB_API_KEY": "k" * 40}, None, "online"),
        ({}, "machine api.wandb.ai login user password key\n", "online"),
        ({}, "machine example.org login user password key\n", "offline"),
        ({}, "this is not a netrc", "offline"),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_MODE": "disabled"}, None, "disabled"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_wandb_is_offline_unless_a_key_is_set(
    environment: dict[str, str], netrc: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc)
        (tmp_path / ".netrc").chmod(0o600)
    assert wandb_logger("project", "name", str(tmp_path))._wandb_init["mode"] == mode


def test_a_server_that_does_not_answer_is_asked_once_and_the_run_written_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(loggers, "is_reachable", asked.append)
    logger = wandb_logger("project", "name", str(tmp_path))
    assert logger._wandb_init["settings"].finish_timeout == 60, "the end of a run waits no longer either"
    assert isinstance(logger, WandbRun)
    logger.require_server()
    logger.require_server()
    assert asked == ["https://api.wandb.ai"]
    assert (logger._wandb_init["mode"], logger.reason) == ("offline", "as https://api.wandb.ai does not answer")


def test_a_resumed_run_repeats_no_step_in_its_metrics(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    lines = [
        "epoch,step,train/loss,test/map@r,report",
        "0,0,2.5,,",
        '0,1,,,"a,\nb"',
        "0,1,,0.5,",
        "1,2,1.5,,",
        "1,3,1.",
        "",
    ]
    for scored, kept in ((False, lines[:4]), (True, lines[:2])):
        file.write_text("\n".join(lines))
        rewind(file, 2, scored=scored)
        assert file.read_text().splitlines() == "\n".join(kept).splitlines()
    for content in ("", "loss\n1\n"):
        file.write_text(content)
        rewind(file, 2)
        assert file.read_text() == content
    rewind(tmp_path / "none.csv", 2)


def test_training_needs_no_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "conspecific.training.tracked_images")
    importlib.import_module("conspecific.training.tracked_images")


@pytest.mark.usefixtures("no_network")
def test_a_resumed_run_is_the_same_run_of_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = wandb_logger("project", "name", str(tmp_path / "run"))
    assert isinstance(first, WandbRun)
    first.keep_id()
    again, other = (wandb_logger("project", "name", str(tmp_path / run)) for run in ("run", "other"))
    assert first.version == again.version != other.version
    monkeypatch.setenv("WANDB_RUN_ID", "of_a_sweep")
    assert wandb_logger("project", "name", str(tmp_path / "sweep")).version == "of_a_sweep"


def require_what_wandb_shows(records: list[Any], record: RunRecord) -> None:
    """Check curves against the epoch with the references as lines, the table of answers, and the summary."""
    by_epoch = {each.metric.name or each.metric.glob_name: each.metric for each in records if each.HasField("metric")}
    assert by_epoch["val/*"].step_metric == "epoch"
    history = [values(each.history.item) for each in records if each.HasField("history")]
    for name in ("flatten", "pooled"):
        line = [row[f"val/map@r_{name}"] for row in history if "val/map@r" in row]
        assert line == pytest.approx([record.validation[name].metrics["map@r"]])
    [artifact] = [each.artifact for each in records if each.HasField("artifact")]
    contents = {each.path: each.local_path for each in artifact.manifest.contents}
    [table] = [json.loads(Path(file).read_text()) for path, file in contents.items() if path.endswith(".table.json")]
    queries = record.test["model"].per_query
    shown = [cell["path"] for row in table["data"] for cell in row if isinstance(cell, dict)]
    assert len(table["data"]) == queries.height
    assert len(shown) == 6 * queries.height, "a query and five answers"
    assert set(shown) == {path for path in contents if path.startswith("media/images")}
    assert len(set(shown)) == len(set(queries["path"])), "each image of the gallery is stored once"
    summary: dict[str, Any] = {}
    for each in records:
        summary |= values(each.summary.update) if each.HasField("summary") else {}
    gain = {each.metric: each.interval for each in record.gains["pooled"]}["map@r"]
    assert summary["test/map@r_gain_over_pooled"] == pytest.approx(gain.mean)
    assert summary["test/map@r_gain_over_pooled_interval"] == pytest.approx([gain.low, gain.high])


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
@pytest.mark.filterwarnings("default")  # wandb's own
def test_two_runs_in_a_row_are_two_runs_of_wandb(tmp_path: Path, cache: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        printed = run_with("wandb", tmp_path / name, cache)
        assert "failed" not in printed
        [written] = (tmp_path / name / "run/logs/wandb").glob("offline-run-*")
        assert (
            f"logger.wandb is offline, as no API key was found. To send the run later: wandb sync {written}" in printed
        )
        [file] = written.glob("*.wandb")
        ended, records = time.monotonic() + 60, written_by_wandb(file)
        while not any(each.HasField("exit") for each in records):  # W&B's own process may still be writing
            assert time.monotonic() < ended, f"{file.stat().st_size} bytes"
            time.sleep(0.1)
            records = written_by_wandb(file)
        require_what_wandb_shows(records, read_record(tmp_path / name / "run"))
