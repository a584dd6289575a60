"""From the pooled layer [B, C] to the embedding [B, D]."""

from typing import get_args

import torch
from torch import Tensor, nn

from conspecific.config.choices import HeadName, check_choice
from conspecific.errors import ConfigError

DIMENSIONS = 512  # of the output of a head, unless told otherwise


class Whitened(nn.Linear):
    """A linear layer that is initialised from the training images.

    `fit` makes it the within-species whitening of the pooled layer: directions in which images of one species differ
    are shrunk, and those in which species differ come first. It also improves frozen features of other species
    than it was fitted on, and training continues from it. Sources: within-class covariance normalisation
    (Hatch, Kajarekar & Stolcke 2006), the order of Fisher's discriminant analysis.
    """

    @torch.no_grad()
    def fit(self, pooled: Tensor, labels: Tensor) -> None:
        """Set the weights from pooled vectors [N, C] of training images and their species [N].

        Outputs get a mean length of sqrt(D). Raises ConfigError if no two images of a species differ.
        """
        vectors = pooled.double()
        directions, scales = _within(vectors, labels)
        white = (vectors - vectors.mean(dim=0)) @ (directions * scales)
        axes = torch.linalg.eigh(white.T @ white)[1].flip(1)[:, : self.out_features]
        matrix, centre = _scaled(directions * scales @ axes, vectors)
        self.weight.copy_(matrix.T)
        self.bias.copy_(-(centre @ matrix))

    @torch.no_grad()
    def fit_again(self, embeddings: Tensor, labels: Tensor) -> None:
        """Whiten what the trained layer gives now, [N, D], by changing its weights; labels as for `fit`.

        Dimensions keep their meaning and order: weights of several runs can still be averaged, embeddings truncated.
        """
        vectors = embeddings.double()
        directions, scales = _within(vectors, labels)
        matrix, centre = _scaled(directions * scales @ directions.T, vectors)
        weight, bias = self.weight.double().cpu(), self.bias.double().cpu()
        self.weight.copy_(matrix.T @ weight)
        self.bias.copy_((bias - centre) @ matrix)


def species_means(vectors: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of each species' vectors [N, D], [C, D]; labels [N] are dense from 0."""
    sums = torch.zeros(int(labels.max()) + 1, vectors.shape[1], dtype=vectors.dtype).index_add_(0, labels, vectors)
    return sums / torch.bincount(labels)[:, None]


def _within(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the directions [C, C] in which images of one species differ, and what each is multiplied by, [C].

    Within-species variances are raised by their mean, since few images say little of most directions.
    """
    place = torch.unique(labels, return_inverse=True)[1]
    within = vectors - species_means(vectors, place)[place]
    variances, directions = torch.linalg.eigh(within.T @ within / len(vectors))
    variances = variances.clamp(min=0)
    if not variances.any():
        raise ConfigError(
            f"model.head=whitened compares images of one species, and of the {len(vectors)} training images no "
            "two of a species differ: set model.head=linear"
        )
    return directions, 1 / (variances + variances.mean()).sqrt()


def _scaled(matrix: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Scale a matrix [C, D] so that centred vectors [N, C] come out sqrt(D) long on average; return the centre too."""
    centre = vectors.mean(dim=0)
    length = ((vectors - centre) @ matrix).norm(dim=1).mean()
    return matrix * matrix.shape[1] ** 0.5 / length, centre


def create_head(name: str, channels: int, dimensions: int | None = None) -> nn.Module:
    """Return a head by name, from `channels` to `dimensions`; `none` keeps the pooled layer.

    dimensions: 1 or more, and for `whitened` at most `channels`. None: 512, or `channels` where a whitened head has
    fewer. Raises ConfigError for another name, and for dimensions that the head cannot have.
    """
    check_choice("model.head", name, get_args(HeadName))
    _check_dimensions(name, channels, dimensions)
    if name == "none":
        return nn.Identity()
    if name == "whitened":
        return Whitened(channels, dimensions or min(DIMENSIONS, channels))
    hidden = [nn.Linear(channels, channels), nn.ReLU(inplace=True)] if name == "mlp" else []
    output = nn.Linear(channels, dimensions or DIMENSIONS)
    return nn.Sequential(*hidden, output) if hidden else output


def _check_dimensions(name: str, channels: int, dimensions: int | None) -> None:
    if dimensions is None:
        return
    found = f"model.dimensions={dimensions}"
    if name == "none":
        raise ConfigError(f"{found} needs a head: set model.head=whitened, linear or mlp, or model.dimensions=null")
    if dimensions < 1:
        raise ConfigError(f"{found} must be 1 or more (null: {DIMENSIONS}, or fewer where the backbone has fewer)")
    if name == "whitened" and dimensions > channels:
        raise ConfigError(
            f"{found} is above the {channels} channels of the backbone, and model.head=whitened cannot have more "
            f"dimensions: set model.dimensions to {channels} or fewer, or model.head=linear"
        )
