"""Each epoch's batches are made of what the epoch before confused."""

from dataclasses import replace

import polars
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.data.sampler import PKSampler
from conspecific.evaluation import Evaluator
from conspecific.evaluation.hard_negatives import hard_negatives
from conspecific.training.fine_tuner import FineTuner


class HardNegatives(Callback):
    """Searches the training images in themselves before each epoch, and tells the batches.

    copies: pairs of sample ids that are one image, which are no negatives whatever species they are filed under.
    """

    def __init__(self, evaluator: Evaluator, copies: polars.DataFrame, batches: PKSampler) -> None:
        self.evaluator, self.copies, self.batches = evaluator, copies, batches

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._search(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 != trainer.max_epochs:
            self._search(pl_module)

    def _search(self, module: pl.LightningModule) -> None:
        assert isinstance(module, FineTuner)
        evaluator = replace(self.evaluator, device=module.device)
        found = evaluator.embed_training(module.eval_embedder, "Looking for what is confused")
        self.batches.confused = hard_negatives(found, module.eval_embedder.metric, self.copies)
