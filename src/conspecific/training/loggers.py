"""Experiment loggers that stay open until the test is scored and never stop a run."""

import importlib.util
import netrc
import os
import shlex
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from rich.console import Console

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build_each
from conspecific.errors import ConfigError, visible
from conspecific.evaluation import Difference
from conspecific.files import write_text
from conspecific.reachable import is_reachable
from conspecific.runs.record import RunRecord
from conspecific.training.logged import log_layout, log_outcome, log_report
from conspecific.training.metrics_file import METRICS, WholeCsvLogger, rewind
from conspecific.training.reference_lines import drawn
from conspecific.types import EvalResult

SERVER = "https://api.wandb.ai"
ID_FILE = "wandb_id"
WAITS = {"init_timeout": 30.0, "finish_timeout": 60.0}  # seconds for wandb to begin a run, and to send the rest of it


class FailSafeLogger(Logger):
    """A logger that may fail without stopping the run: it prints the error once and is not used again.

    Lightning finalizes its loggers when training ends, before the test is scored; that call saves what there is, and
    `close` finalizes at the end of the run.
    """

    def __init__(self, logger: Logger, label: str, console: Console) -> None:
        super().__init__()
        self.logger, self.label, self.console, self.works = logger, label, console, True
        self.last_step = 0

    @property
    def name(self) -> str:
        return self.label

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.last_step = self.last_step if step is None else step
        self._try(lambda: self.logger.log_metrics(dict(metrics), step))
        if any(name.startswith("val/") for name in metrics):  # once an epoch: a kill then loses at most one
            self.save()

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        self._try(lambda: self.logger.log_hyperparams(params))

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        self._try(lambda: self.logger.after_save_checkpoint(checkpoint_callback))

    def log_layout(self, metrics: Sequence[str]) -> None:
        """Have validation metrics drawn against the epoch, with the references as lines."""
        self._try(lambda: log_layout(self.logger, metrics))

    def log_outcome(self, record: RunRecord) -> None:
        """Log what is to be seen of a finished run, where the logger takes images."""
        self._try(lambda: log_outcome(self.logger, record, self.last_step))

    def log_report(self, report: Path, images: Sequence[Path]) -> None:
        """Log the path of the report and example images, where the logger takes text and images."""
        self._try(lambda: log_report(self.logger, report, images, self.last_step))

    def save(self) -> None:
        self._try(self.logger.save)

    def finalize(self, status: str) -> None:
        self.save()

    def close(self, status: str) -> None:
        """Finalize. status: success or failed."""
        self._try(lambda: self.logger.finalize(status))

    def _try(self, action: Callable[[], Any]) -> None:
        if not self.works:
            return
        try:
            action()
        except Exception as error:  # a tracker, its server and its disk can fail in any way
            self.works = False
            self.console.print(
                f"logger.{self.label} failed and is not used for the rest of the run. {type(error).__name__}: {error}",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


@contextmanager
def open_loggers(
    config: TrainConfig, console: Console, steps: int = 0, *, scored: bool = False
) -> Iterator[list[FailSafeLogger]]:
    """Yield the loggers of a configuration, which has been logged to them; close them when the block ends.

    They are finalized as failed where the block raises, so that a tracker shows which runs did not finish.

    steps: how many training steps a run had done that is resumed; the CSV file loses what was logged after them.
    scored: whether it had been scored on its test, which is logged again.
    """
    built = build_each(config.logger, "logger", config.allow)
    loggers = [FailSafeLogger(logger, name, console) for name, logger in built.items()]
    for logger in loggers:
        logger.last_step = max(0, steps - 1)
        if isinstance(logger.logger, CSVLogger):
            rewind(Path(logger.logger.log_dir) / METRICS, steps, scored=scored)
        if isinstance(logger.logger, WandbRun):
            logger._try(logger.logger.require_server)
            logger._try(logger.logger.keep_id)
        logger.log_hyperparams(asdict(config))
        logger.log_layout(drawn(config.monitor))
        if logger.works and isinstance(logger.logger, WandbRun) and (folder := logger.logger.offline_folder):
            later = f"To send the run later: wandb sync {shlex.quote(folder)}"
            console.print(
                f"logger.{logger.label} is offline, {logger.logger.reason}. {later}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    status = "failed"
    try:
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.close(status)


def log_test(
    loggers: Sequence[FailSafeLogger],
    test: Mapping[str, EvalResult],
    best: str,
    gains: Mapping[str, Sequence[Difference]],
) -> None:
    """Log `test/METRIC` of the result named `best` and `test/METRIC_gain_over_REFERENCE` for each reference.

    gains: reference -> paired differences of `best` over it.
    """
    metrics = {f"test/{name}": value for name, value in test[best].metrics.items()}
    for reference, differences in gains.items():
        metrics |= {f"test/{each.metric}_gain_over_{reference}": each.interval.mean for each in differences}
    for logger in loggers:
        logger.log_metrics(metrics, logger.last_step)
        logger.save()


class WandbRun(WandbLogger):
    """Lightning's logger passes a run that is still open on to the next job of a multirun; this one closes it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # wandb warns about this argument even where it is None
        self.reason = "as WANDB_MODE says" if os.environ.get("WANDB_MODE") else "as no API key was found"

    def require_server(self) -> None:
        """Write an online run offline where its server does not answer: wandb itself waits for minutes, silently."""
        server = os.environ.get("WANDB_BASE_URL") or SERVER
        if self._wandb_init["mode"] == "online" and not is_reachable(server):
            self._wandb_init["mode"], self.reason = "offline", f"as {server} does not answer"

    def keep_id(self) -> None:
        """Write the id of the run beside its files, where `wandb_logger` finds it when the run is resumed."""
        write_text(Path(str(self.save_dir)) / ID_FILE, str(self.version))

    @property
    def offline_folder(self) -> str | None:
        """The folder that a run without a connection is written into; None for a run that is sent at once."""
        return str(Path(self.experiment.dir).parent) if self._wandb_init["mode"] == "offline" else None

    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None


def wandb_logger(project: str, name: str, save_dir: str) -> WandbLogger:
    """Return a Weights & Biases logger, offline unless a key or WANDB_MODE is set; each job of a multirun is a run.

    The id of the run is the one kept in `save_dir`, so that a run that is resumed goes on in the same run of Weights &
    Biases; else that of WANDB_RUN_ID, which the agent of a sweep sets, or a new one. What cannot be sent in the seconds
    of WAITS stays on disk.
    """
    from wandb import Settings

    Path(save_dir).mkdir(parents=True, exist_ok=True)
    kept = Path(save_dir) / ID_FILE
    run_id = kept.read_text() if kept.is_file() else os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]
    os.environ.setdefault("WANDB_SILENT", "true")
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
    known: dict[str, Any] = {key: value for key, value in WAITS.items() if key in Settings.model_fields}  # by version
    options = {"mode": mode, "reinit": "finish_previous", "settings": Settings(**known)}
    return WandbRun(project=project, name=visible(name), id=run_id, save_dir=save_dir, **options)


def tensorboard_logger(save_dir: str) -> TensorBoardLogger:
    """Return a logger that writes event files into `save_dir`/tensorboard.

    Raises ConfigError where TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("logger=tensorboard needs TensorBoard: pip install -e '.[tensorboard]' in the clone")
    return TensorBoardLogger(save_dir, name="tensorboard", version="", default_hp_metric=False)


def csv_logger(save_dir: str) -> CSVLogger:
    """Return a logger that writes `save_dir`/csv/metrics.csv; a resumed run appends to the file that is there."""
    return WholeCsvLogger(save_dir, name="csv", version="")


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):  # no such file, or one that cannot be parsed
        return False
    return any("wandb" in host for host in hosts)
