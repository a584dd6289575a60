"""What the training pictures say before the first step: the whitened head and the species' vectors."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder
from conspecific.models.heads import Whitened, species_means
from conspecific.training.datamodule import Pictures
from conspecific.training.module import FineTuner
from conspecific.types import EmbeddingSet


def begin(module: FineTuner, pictures: Pictures, config: TrainConfig, evaluator: Evaluator) -> None:
    """Give a whitened head its weights, and the loss each species' mean embedding, from the training pictures."""
    parts = module.embedder
    if not module.loss.imprinted and not isinstance(parts.head, Whitened):
        return
    pooling = Embedder(parts.backbone, parts.pooling, nn.Identity(), normalize=False, search_head=False)
    found = training_embeddings(pooling, pictures, config, evaluator)
    pooled, labels = torch.from_numpy(found.vectors), module.class_of_label.cpu()[torch.from_numpy(found.labels)]
    head = parts.head.cpu()
    if isinstance(head, Whitened):
        head.fit(pooled, labels)
    if module.loss.imprinted:
        with torch.no_grad():
            module.loss.imprint(species_means(F.normalize(head(pooled)), labels))


def training_embeddings(
    embedder: Embedder, pictures: Pictures, config: TrainConfig, evaluator: Evaluator
) -> EmbeddingSet:
    """Embed the training pictures at their training size: of cached views the first, so that no picture is read."""
    size, ids = config.loader.train_size, evaluator.splits.train
    kept = pictures.cached.values[size][0] if pictures.cached else None
    training = replace(evaluator, image_size=size)
    return training.embed({"train": embedder}, ids, "Looking at the training pictures", kept)["train"]
