"""What the training images say before the first step: the whitened head and the species' vectors."""

import torch
import torch.nn.functional as F
from torch import nn

from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.models.heads import Whitened, species_means
from conspecific.training.fine_tuner import FineTuner


def needs_training_images(module: FineTuner) -> bool:
    """Whether `init_from_data` looks at the training images: for a whitened head, or for the loss."""
    imprinted = isinstance(module.loss, MetricLoss | Matryoshka) and module.loss.imprinted
    return imprinted or isinstance(module.embedder.head, Whitened)


def init_from_data(module: FineTuner, evaluator: Evaluator) -> None:
    """Give a whitened head its weights, and the loss each species' mean embedding, from the training images."""
    if not needs_training_images(module):
        return
    parts = module.embedder
    pooling = Embedder(parts.backbone, parts.pooling, nn.Identity(), normalize=False, search_head=False)
    found = evaluator.embed_training(pooling, "Looking at the training images")
    pooled, labels = torch.from_numpy(found.vectors), module.class_of_label.cpu()[torch.from_numpy(found.labels)]
    head = parts.head.cpu()
    if isinstance(head, Whitened):
        head.fit(pooled, labels)
    if isinstance(module.loss, MetricLoss | Matryoshka) and module.loss.imprinted:
        with torch.no_grad():
            module.loss.imprint(species_means(F.normalize(head(pooled)), labels))
