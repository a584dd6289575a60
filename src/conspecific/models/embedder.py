"""The embedder: backbone -> pooling -> head -> (L2 normalise)."""

import os
from collections.abc import Iterable, Mapping, Sized
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from conspecific.config.choices import EmbeddingLayer, check_choice
from conspecific.errors import ConfigError, DataError, ImageError
from conspecific.images import AnyImage, any_image_tensor, workers_for
from conspecific.models.backbone import Backbone
from conspecific.models.class_probabilities import without_class_probabilities
from conspecific.models.encode import decoded, device_for, embed_batches
from conspecific.models.heads import create_head
from conspecific.models.layouts import in_timm_layout
from conspecific.models.pooling import ClassToken, create_pooling
from conspecific.models.state_dict import IN_EMBEDDER, prefix_of, read_state_dict, weights_file
from conspecific.progress import progress_bar
from conspecific.types import FloatArray, Similarity


class Embedder(nn.Module):
    """A network from images to embeddings: backbone, pooling, head, and L2 normalisation if `normalize`.

    embed: images of any kind -> embeddings [N, D] float32; what most callers need.
    forward: uint8 [B, 3, H, W], or float in [0, 1] -> the embedding that is searched with, float32 [B, D].
    project: the same images -> the input of the loss, [B, `loss_dimensions`], not normalised.

    forward and project differ if the embedding is the pooled layer (`search_head` is false): the head is then a
    projection head for the loss alone (Chen et al. 2020, arXiv:2002.05709), and the layer below it, which keeps more of
    the pretraining, is searched with.

    image_size: side in pixels of the square that `embed` crops an image to; the side the model is evaluated at.
    truncate: use only that many of the first dimensions, normalised again; None uses all. It is meant for embedders
        trained for it (Matryoshka, Kusupati et al. 2022, arXiv:2205.13147) and does not affect the loss.
    pretrained_head: whether pooling and head come from the same file as the backbone: False where that file has others,
        None where it has none.

    >>> from conspecific.models import build_embedder
    >>> embedder = build_embedder(backbone="resnet18", weights="none", head="none")
    >>> embedder.embed([np.zeros((48, 64, 3), np.uint8), np.ones((50, 50), np.uint8)]).shape
    (2, 512)
    """

    image_size: int = 224
    truncate: int | None = None
    pretrained_head: bool | None = None

    def __init__(
        self, backbone: Backbone, pooling: nn.Module, head: nn.Module, normalize: bool, search_head: bool
    ) -> None:
        super().__init__()
        self.backbone, self.pooling, self.head = backbone, pooling, head
        self.normalize, self.search_head = normalize, search_head

    @property
    def metric(self) -> Similarity:
        """The similarity to compare these embeddings by: cosine if they are normalised, else L2."""
        return "cosine" if self.normalize else "l2"

    def embed(
        self,
        images: Iterable[AnyImage],
        *,
        batch_size: int = 32,
        device: str | torch.device = "auto",
        workers: int | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Return the embeddings of images, [N, D] float32, one row an image in the given order.

        images: paths, Pillow images, arrays (uint8 [H, W, 3], or grey [H, W]) or tensors ([3, H, W], uint8 or float in
            [0, 1]), mixed and of any sizes; a generator is read batch by batch. Each is cropped as evaluation does: the
            shorter side is resized to `image_size` and the central square is taken.
        batch_size: images in one forward pass. device: a torch device, to which the model moves; auto takes a GPU if
            there is one. workers: threads that decode ahead; None takes one a core, at most eight.
        progress: show a progress bar on a terminal.
        Raises DataError for an image that cannot be used, naming its file or position, and if there are no images.
        """
        if isinstance(images, str | os.PathLike | Image.Image) or getattr(images, "ndim", 4) != 4:
            raise DataError("embed takes a sequence of images; for one image, give [image]")
        if batch_size < 1:
            raise DataError(f"batch_size must be 1 or more; found {batch_size}")
        batches = decoded(enumerate(images), self._read, batch_size, workers_for(workers))
        blocks = []
        with progress_bar(None if progress else Console(quiet=True)) as bar:
            task = bar.add_task("Embedding", total=len(images) if isinstance(images, Sized) else None)
            for [block] in embed_batches([self], batches, self.backbone, device_for(str(device))):
                blocks.append(block)
                bar.advance(task, len(block))
        if not blocks:
            raise DataError("there are no images to embed")
        return np.concatenate(blocks)

    def _read(self, numbered: tuple[int, AnyImage]) -> Tensor:
        number, image = numbered
        try:
            return any_image_tensor(image, self.image_size)
        except ImageError:  # it names the file
            raise
        except ValueError as error:
            raise DataError(f"image {number} cannot be embedded: {error}") from error

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.backbone(images))

    def forward_head(self, features: Tensor) -> Tensor:
        """Return the embedding, float32 [B, D], from the backbone's feature map [B, C, h, w]."""
        embedding = self.pool(features)
        if self.search_head:
            embedding = self.head(embedding)
        embedding = embedding.float()[:, : self.truncate]
        return F.normalize(embedding) if self.normalize else embedding

    def project(self, images: Tensor) -> Tensor:
        """Return the input of the loss, [B, `loss_dimensions`], from images [B, 3, H, W]."""
        return self.project_features(self.backbone(images))

    def project_features(self, features: Tensor) -> Tensor:
        """Return the input of the loss from the backbone's feature map [B, C, h, w]."""
        projected: Tensor = self.head(self.pool(features))
        return projected.float()

    def pool(self, features: Tensor) -> Tensor:
        """Return the pooled layer, [B, C], from the backbone's feature map; `flatten` gives [B, C * h * w].

        Only `cls` sees the tokens of a transformer that belong to no position.
        """
        if not isinstance(self.pooling, ClassToken):
            features = features[:, :, self.backbone.prefix_tokens :]
        pooled: Tensor = self.pooling(features)
        return pooled

    @torch.no_grad()
    def loss_dimensions(self, size: int) -> int:
        """Return the number of dimensions that `project` gives for images of this side, in pixels."""
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
    embedding_layer: EmbeddingLayer = "head",
    normalize: bool = True,
    trainable_stages: int | None = 2,
    freeze_norms: bool = True,
) -> Embedder:
    """Build an embedder from a timm backbone; the defaults are those of `conspecific train`.

    backbone: a model of timm, hf-hub:OWNER/NAME or local-dir:FOLDER. weights: bundled, timm, none, a file, or a run: of
    an embedder, pooling and head are loaded too if they have the shapes of this one. pooling: flatten, avg, max, gem
    or cls, the class token of a ViT. head: none, linear, mlp or whitened, to `dimensions` (None: the number of
    channels for whitened, 512 for the others), or batch_norm. MiewID's published weights have gem and batch_norm.
    embedding_layer: the output of the head, or the pooled layer below it. normalize: whether embeddings have length 1.
    trainable_stages: the last stages of the backbone that are trained (None: all). freeze_norms: keep the pretrained
    batch-norm statistics, which small batches would spoil. A whitened head has random weights until it is fitted to
    training images. Raises ConfigError that names the argument.
    """
    if head != "none" and pooling == "flatten":
        raise ConfigError(
            f"model.head={head} needs a pooled layer of fixed length: set model.pooling=avg, max, gem or cls"
        )
    check_choice("model.embedding_layer", embedding_layer, get_args(EmbeddingLayer))
    network = Backbone(backbone, weights)
    if pooling == "cls" and not network.has_class_token:
        raise ConfigError(
            f"model.pooling=cls needs a backbone with a class token, as most ViTs have; {backbone} has none: set "
            "model.pooling=avg, max or gem"
        )
    network.freeze(trainable_stages, freeze_norms)
    embedder = Embedder(
        network,
        create_pooling(pooling),
        create_head(head, network.channels, dimensions),
        normalize=normalize,
        search_head=embedding_layer == "head",
    )
    if file := weights_file(weights):
        embedder.pretrained_head = load_head(embedder, in_timm_layout(read_state_dict(file)))
    return embedder


def load_head(embedder: Embedder, weights: Mapping[str, Tensor]) -> bool | None:
    """Load pooling and head, but not the backbone, from the weights of an embedder.

    Returns whether they have the names and shapes of this embedder's; None where the weights are of a backbone alone.
    """
    prefix = prefix_of(embedder.backbone.net.state_dict(), weights)
    if not prefix.endswith(IN_EMBEDDER):
        return None
    outer = prefix.removesuffix(IN_EMBEDDER)
    own = {name: tensor for name, tensor in embedder.state_dict().items() if not name.startswith(IN_EMBEDDER)}
    weights = without_class_probabilities(weights, outer)
    names = {name.removeprefix(outer) for name in weights if name.startswith((f"{outer}pooling.", f"{outer}head."))}
    if not names and not own:
        return None
    if names != own.keys() or any(weights[outer + name].shape != own[name].shape for name in names):
        return False
    embedder.load_state_dict({name: weights[outer + name] for name in names}, strict=False)
    return True


def flatten_baseline(backbone: Backbone) -> Embedder:
    """Return the flatten baseline: the last feature map, flattened, compared by L2."""
    return Embedder(backbone, create_pooling("flatten"), nn.Identity(), normalize=False, search_head=False)


def pooled_reference(backbone: Backbone) -> Embedder:
    """Return the pooled reference: the pooled last feature map of the frozen backbone, normalised, compared by cosine.

    A transformer that timm pools by its class token is pooled so; any other feature map is averaged over its positions.
    """
    pooling = "cls" if backbone.is_pooled_by_class_token else "avg"
    return Embedder(backbone, create_pooling(pooling), nn.Identity(), normalize=True, search_head=False)
