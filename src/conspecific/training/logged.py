"""What each kind of logger gets besides metrics."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from conspecific.errors import visible
from conspecific.images import open_rgb
from conspecific.runs.record import RunRecord
from conspecific.training.tracked_images import answers_table, project


def log_layout(logger: Logger, metrics: Sequence[str]) -> None:
    """Weights & Biases draws validation metrics against the epoch; the page "Custom scalars" of TensorBoard draws each
    of these metrics and its references in one chart."""
    if isinstance(logger, WandbLogger):
        logger.experiment.define_metric("epoch")
        logger.experiment.define_metric("val/*", step_metric="epoch")
    elif isinstance(logger, TensorBoardLogger):
        charts = {name: ["Multiline", [rf"^val/{re.escape(name)}(_flatten|_pooled)?$"]] for name in metrics}
        logger.experiment.add_custom_scalars({"validation": charts})


def log_outcome(logger: Logger, record: RunRecord, step: int) -> None:
    """Weights & Biases gets a table of test queries with their answers, and in the summary the interval of each
    difference; TensorBoard gets embeddings for its projector."""
    if isinstance(logger, WandbLogger):
        logger.experiment.log({"test/answers": answers_table(record)})
        for reference, differences in record.gains.items():
            for each in differences:
                interval = [each.interval.low, each.interval.high]
                logger.experiment.summary[f"test/{each.metric}_gain_over_{reference}_interval"] = interval
    elif isinstance(logger, TensorBoardLogger) and record.selection is not None:
        project(record, logger.experiment, step)


def log_report(logger: Logger, report: Path, images: Sequence[Path], step: int) -> None:
    """Log the report's path as text and the images, as each kind of logger takes them.

    CSV takes text in a column, and no images. Weights & Biases shows the path in the summary of the run. TensorBoard
    takes text for Markdown, and four spaces before it for code.
    """
    told = visible(str(report))
    if isinstance(logger, WandbLogger):
        logger.experiment.summary["report"] = told
        logger.log_image("test/examples", [str(path) for path in images], caption=[path.stem for path in images])
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("report", f"    {told}", step)
        for path in images:
            logger.experiment.add_image(
                f"test/examples/{path.stem}", np.asarray(open_rgb(path)), step, dataformats="HWC"
            )
    elif isinstance(logger, CSVLogger):
        logger.log_metrics({"report": told}, step)  # type: ignore[dict-item]
