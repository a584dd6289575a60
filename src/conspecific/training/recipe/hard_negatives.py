"""Batches of species that the model confuses, searched for before each epoch."""

from dataclasses import replace

import polars
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.data.sampler import EpochSampler, PKSampler
from conspecific.evaluation import Evaluator
from conspecific.index import Searcher
from conspecific.training.fine_tuner import FineTuner
from conspecific.types import EmbeddingSet, Similarity

SEARCHED, KEPT = 100, 10


class HardNegatives(Callback):
    """Searches the training images among themselves before each epoch and gives the result to the PK sampler.

    copies: pairs of sample ids, `first` and `second`, that are the same image. The two are never negatives of each
    other, even where they have different species.
    """

    def __init__(self, evaluator: Evaluator, copies: polars.DataFrame, batches: EpochSampler) -> None:
        assert isinstance(batches, PKSampler), "config.recipe refuses hard negatives with another sampling"
        self.evaluator, self.copies, self.batches = evaluator, copies, batches

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._search(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 != trainer.max_epochs:
            self._search(pl_module)

    def _search(self, module: pl.LightningModule) -> None:
        assert isinstance(module, FineTuner)
        evaluator = replace(self.evaluator, device=module.device)
        found = evaluator.embed_training(module.eval_embedder, "Searching hard negatives")
        self.batches.confused = hard_negatives(found, module.eval_embedder.metric, self.copies)


def hard_negatives(embeddings: EmbeddingSet, metric: Similarity, copies: polars.DataFrame) -> dict[int, list[int]]:
    """Return up to KEPT images of other species for each image, nearest first.

    copies: pairs of sample ids, `first` and `second`, that are the same image; a pair with two species would train the
    model to separate an image from itself. Images without another species among the SEARCHED nearest are left out.
    """
    neighbors = Searcher(embeddings, metric).search(embeddings, min(SEARCHED, len(embeddings) - 1))
    label_of = dict(zip(embeddings.ids.tolist(), embeddings.labels.tolist(), strict=True))
    pairs = {frozenset(pair) for pair in copies.select("first", "second").iter_rows()}
    found = {}
    for index, nearest in zip(embeddings.ids.tolist(), neighbors.ids.tolist(), strict=True):
        others = [
            other for other in nearest if label_of[other] != label_of[index] and frozenset((index, other)) not in pairs
        ]
        if others:
            found[index] = others[:KEPT]
    return found
