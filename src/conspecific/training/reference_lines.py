"""References as lines in the curves of a tracker."""

from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.types import EvalResult

LINES = ("recall@1", "map@r")


def drawn(monitor: str) -> tuple[str, ...]:
    """Return the validation metrics whose curves have the references beside them: these two and the monitored one."""
    return tuple(dict.fromkeys([*LINES, monitor]))


class ReferenceLines(Callback):
    """Logs `val/METRIC_REFERENCE` after every epoch: always the same value, so that a tracker draws it as a line.

    references: results on validation by name.
    """

    def __init__(self, references: Mapping[str, EvalResult], monitor: str) -> None:
        self.values = {
            f"val/{metric}_{name}": result.metrics[metric]
            for name, result in references.items()
            for metric in drawn(monitor)
        }

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log_dict(self.values)
