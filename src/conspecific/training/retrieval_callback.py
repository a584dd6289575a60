"""Retrieval metrics after every training epoch."""

from collections.abc import Callable, Sequence
from functools import partial

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from conspecific.errors import ConfigError, did_you_mean
from conspecific.metrics import KS
from conspecific.training.score_images import Images, score_images
from conspecific.types import EvalResult, Similarity

Scorer = Callable[[pl.LightningModule], EvalResult]


class RetrievalCallback(Callback):
    """Embeds validation images after every training epoch, searches them, and logs retrieval metrics.

    It works with any LightningModule with a `forward` from a batch of images to embeddings [B, D]. It logs
    `val/METRIC` for every metric and, where there is a reference, `val/METRIC_gain`, the difference to it. `result` is
    the EvalResult of the last epoch, `best` the one with the highest value of `monitor` since the trainer started;
    both are None before the first epoch has ended. Checkpoints and early stopping can monitor what it logs: Lightning
    runs checkpoints after all other callbacks; put early stopping after this one.

    >>> import torch
    >>> images = torch.randint(0, 256, (12, 3, 64, 64), dtype=torch.uint8)
    >>> callback = RetrievalCallback((images, ["robin", "wren", "dunnock"] * 4), monitor="map@r")
    >>> trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], logger=False)
    """

    def __init__(
        self,
        val_dataset: Images | Scorer,
        monitor: str = "map@r",
        *,
        gallery: Images | None = None,
        similarity: Similarity = "cosine",
        ks: Sequence[int] = KS,
        reference: EvalResult | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        """Name the images to score.

        val_dataset: a data set of items {image, label} or (image, label), or two arrays (images, labels) of N each.
            Labels are integers or strings. A function from the module to an EvalResult scores in its own way.
        monitor: the metric, without `val/`, that decides which epoch is the best.
        gallery: the images to search in, given like `val_dataset`. By default every validation image is searched in
            all others. Items with the same `index` in both are the same image, which never answers its own query.
        similarity: cosine, or l2 for embeddings that are compared by Euclidean distance. ks: cut-offs of recall@k.
        reference: a result on the same images, such as that of the pretrained network.
        batch_size, num_workers: of the data loader.
        """
        self.monitor, self.reference = monitor, reference
        self.result: EvalResult | None = None
        self.best: EvalResult | None = None
        self._score: Scorer = (
            val_dataset
            if callable(val_dataset)
            else partial(
                score_images,
                images=val_dataset,
                gallery=gallery,
                similarity=similarity,
                ks=ks,
                batch_size=batch_size,
                num_workers=num_workers,
            )
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        result = self._score(pl_module)
        if self.monitor not in result.metrics:
            near = did_you_mean(self.monitor, result.metrics)
            raise ConfigError(f"monitor={self.monitor} is not a metric. {near}")
        self.result = result
        if self.best is None or result.metrics[self.monitor] > self.best.metrics[self.monitor]:
            self.best = result
        pl_module.log_dict({f"val/{name}": value for name, value in result.metrics.items()})
        if self.reference is not None:
            before = self.reference.metrics
            gains = {name: value - before[name] for name, value in result.metrics.items() if name in before}
            pl_module.log_dict({f"val/{name}_gain": value for name, value in gains.items()})
