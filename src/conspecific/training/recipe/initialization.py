"""Initialization from the training images: the whitened head and the class vectors of the loss."""

import torch
import torch.nn.functional as F
from torch import nn

from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.models.heads import Whitened, species_means
from conspecific.training.fine_tuner import FineTuner


def needs_training_images(module: FineTuner) -> bool:
    """Whether `init_from_data` embeds the training images: for a whitened head or for weight imprinting."""
    imprinted = isinstance(module.loss, MetricLoss | Matryoshka) and module.loss.imprinted
    return imprinted or isinstance(module.embedder.head, Whitened)


def init_from_data(module: FineTuner, evaluator: Evaluator) -> None:
    """Fit a whitened head and imprint the class vectors of the loss, from the embeddings of the training images.

    Weight imprinting is of Qi et al. 2018. A head that is not whitened and a loss without imprinting stay as they are.
    """
    if not needs_training_images(module):
        return
    parts = module.embedder
    pooling = Embedder(parts.backbone, parts.pooling, nn.Identity(), normalize=False, search_head=False)
    found = evaluator.embed_training(pooling, "Embedding the training images")
    pooled, labels = torch.from_numpy(found.vectors), module.class_of_label.cpu()[torch.from_numpy(found.labels)]
    head = parts.head.cpu()
    if isinstance(head, Whitened):
        head.fit(pooled, labels)
    if isinstance(module.loss, MetricLoss | Matryoshka) and module.loss.imprinted:
        with torch.no_grad():
            module.loss.imprint(species_means(F.normalize(head(pooled)), labels))
