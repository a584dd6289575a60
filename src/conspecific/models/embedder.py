"""The embedder: backbone -> pooling -> head -> (L2 normalise)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.models.backbone import Backbone
from conspecific.models.heads import create_head
from conspecific.models.pooling import create_pooling
from conspecific.types import Similarity


class Embedder(nn.Module):
    """Images to embeddings.

    forward: uint8 [B, 3, H, W] -> the embedding that is searched with, float32 [B, D].
    project: uint8 [B, 3, H, W] -> what the loss compares, [B, `loss_dimensions`], not normalised.

    The two differ with `embedding_layer="pooled"`: then the head serves the loss alone, as a projection head does
    (Chen et al. 2020), and the layer under it, which keeps more of what was learnt before, is searched with.

    truncate: search with that many of the first dimensions alone, normalised again; None takes all. It is for embedders
    whose first dimensions were trained to stand alone (Kusupati et al. 2022), and of no account to the loss.
    """

    truncate: int | None = None

    def __init__(
        self, backbone: Backbone, pooling: nn.Module, head: nn.Module, normalize: bool, search_head: bool
    ) -> None:
        super().__init__()
        self.backbone, self.pooling, self.head = backbone, pooling, head
        self.normalize, self.search_head = normalize, search_head

    @property
    def metric(self) -> Similarity:
        """The similarity that belongs to these embeddings: cosine where they are normalised, else L2."""
        return "cosine" if self.normalize else "l2"

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.backbone(images))

    def forward_head(self, features: Tensor) -> Tensor:
        """The embedding from the backbone's feature map, float32."""
        embedding = self.pooling(features)
        if self.search_head:
            embedding = self.head(embedding)
        embedding = embedding.float()[:, : self.truncate]
        return F.normalize(embedding) if self.normalize else embedding

    def project(self, images: Tensor) -> Tensor:
        """What the loss compares."""
        return self.project_features(self.backbone(images))

    def project_features(self, features: Tensor) -> Tensor:
        """What the loss compares, from the backbone's feature map."""
        projected: Tensor = self.head(self.pooling(features))
        return projected.float()

    @torch.no_grad()
    def loss_dimensions(self, size: int) -> int:
        """Length of what `project` returns for images of this size."""
        training = self.training
        dimensions = self.eval().project(torch.zeros(1, 3, size, size)).shape[1]
        self.train(training)
        return dimensions


def build_embedder(
    backbone: str = "tf_efficientnet_lite0",
    weights: str = "bundled",
    pooling: str = "gem",
    head: str = "whitened",
    dimensions: int | None = None,
    embedding_layer: Literal["head", "pooled"] = "head",
    normalize: bool = True,
    trainable_stages: int | None = 2,
    freeze_norms: bool = True,
) -> Embedder:
    """Build an embedder from a timm backbone; the defaults are those of `conspecific train`.

    backbone: a model of timm. weights: bundled, timm, none or a file. pooling: flatten, avg, max or gem. head: none,
    linear, mlp or whitened, to `dimensions` (None: 512, or the number of channels where a whitened head has fewer).
    embedding_layer: the output of the head, or the pooled layer below it. normalize: whether embeddings have length 1.
    trainable_stages: the last stages of the backbone that are trained (None: all). freeze_norms: keep the pretrained
    batch-norm statistics, which small batches would spoil. A whitened head has random weights until it is fitted to
    training images. Raises ConfigError that names the argument.
    """
    if head != "none" and pooling == "flatten":
        raise ConfigError(f"model.head={head} needs a pooled layer of fixed length: set model.pooling=avg, max or gem")
    if embedding_layer not in ("head", "pooled"):
        raise ConfigError(f"model.embedding_layer={embedding_layer} is unknown. Known here: head, pooled.")
    network = Backbone(backbone, weights)
    network.freeze(trainable_stages, freeze_norms)
    return Embedder(
        network,
        create_pooling(pooling),
        create_head(head, network.channels, dimensions),
        normalize=normalize,
        search_head=embedding_layer == "head",
    )


def flatten_baseline(backbone: Backbone) -> Embedder:
    """The code the story begins with: the last feature map, flattened, compared by L2."""
    return Embedder(backbone, create_pooling("flatten"), nn.Identity(), normalize=False, search_head=False)


def pooled_reference(backbone: Backbone) -> Embedder:
    """What a careful user tries before any training: averaged over positions, normalised, compared by cosine."""
    return Embedder(backbone, create_pooling("avg"), nn.Identity(), normalize=True, search_head=False)
