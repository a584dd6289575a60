"""Initialization from the training images: the whitened head and the class vectors of the loss."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from conspecific.evaluation import Evaluator
from conspecific.losses import Matryoshka, MetricLoss
from conspecific.models import Embedder
from conspecific.models.heads import STRENGTH, Whitened, fit_whitenings
from conspecific.models.whitening import species_means
from conspecific.training.fine_tuner import FineTuner

STRENGTHS = (0.0, 0.5, 1.0)  # of the whitening of the untrained heads that selection tries
Heads = dict[float, Whitened]


def needs_training_images(module: FineTuner) -> bool:
    """Whether `init_from_data` embeds the training images: for a whitened head or for weight imprinting."""
    imprinted = isinstance(module.loss, MetricLoss | Matryoshka) and module.loss.imprinted
    return imprinted or _fits_head(module.embedder)


def init_from_data(module: FineTuner, evaluator: Evaluator) -> Heads:
    """Fit a whitened head and imprint the class vectors of the loss, from the embeddings of the training images.

    Weight imprinting is of Qi et al. 2018. A head that is not whitened, one that comes from `model.weights`, and a loss
    without imprinting stay as they are. Returns heads of other strengths, which `training.selection` tries on the
    frozen backbone; none where the head is not fitted.
    """
    if module.embedder.pretrained_head is not None:
        heads = "come from there too" if module.embedder.pretrained_head else "do not, because it holds others"
        evaluator.console.print(f"The backbone comes from model.weights; pooling and head {heads}.", soft_wrap=True)
    if not needs_training_images(module):
        return {}
    parts = module.embedder
    pooling = Embedder(parts.backbone, parts.pooling, nn.Identity(), normalize=False, search_head=False)
    found = evaluator.embed_training(pooling, "Embedding the training images")
    pooled, labels = torch.from_numpy(found.vectors), module.class_of_label.cpu()[torch.from_numpy(found.labels)]
    head, others = parts.head.cpu(), {}
    if _fits_head(parts) and isinstance(head, Whitened):
        own, *rest = fit_whitenings(pooled, labels, [STRENGTH, *STRENGTHS])
        for strength, whitening in zip(STRENGTHS, rest, strict=True):
            others[strength] = copy.deepcopy(head)
            others[strength].set_whitening(whitening, pooled)
        head.set_whitening(own, pooled)
    if isinstance(module.loss, MetricLoss | Matryoshka) and module.loss.imprinted:
        with torch.no_grad():
            module.loss.imprint(species_means(F.normalize(head(pooled)), labels))
    return others


def _fits_head(embedder: Embedder) -> bool:
    """Whether the head is to be fitted: a whitened one that does not come from the weights of another run."""
    return isinstance(embedder.head, Whitened) and not embedder.pretrained_head
