"""From the pooled layer [B, C] to the embedding [B, D]."""

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from conspecific.config.choices import HeadName, check_choice
from conspecific.errors import ConfigError
from conspecific.models.whitening import Whitening, fit_whitening

DIMENSIONS = 512  # of the output of a linear or mlp head, unless told otherwise
STRENGTH = 0.25  # in [0, 1], how much directions in which the training species differ are preferred; docs/log.md
RIDGE_AFTER_TRAINING = 3.0  # training has gathered its species: they would ask for hardly any whitening; docs/log.md


class Whitened(nn.Linear):
    """A linear layer that is initialised from the training images.

    `fit` makes it the within-species whitening of the pooled layer (`whitening.fit_whitening`): directions in which
    images of one species differ are shrunk, and those in which species differ come first. It also improves frozen
    features of other species than it was fitted on, and training continues from it. Sources: within-class covariance
    normalisation (Hatch, Kajarekar & Stolcke 2006), probabilistic linear discriminant analysis (Ioffe 2006).
    """

    @torch.no_grad()
    def fit(self, pooled: Tensor, labels: Tensor) -> None:
        """Set the weights from pooled vectors [N, C] of training images and their species [N].

        Outputs get a mean length of sqrt(D). Raises ConfigError if no two images of a species differ.
        """
        self.set_whitening(fit_whitenings(pooled, labels, [STRENGTH])[0], pooled)

    @torch.no_grad()
    def set_whitening(self, whitening: Whitening, pooled: Tensor) -> None:
        """Set the weights to a whitening of pooled vectors [N, C]; outputs get a mean length of sqrt(D)."""
        vectors = pooled.double()
        matrix = _scaled(whitening.principal(vectors)[:, : self.out_features], vectors - whitening.centre)
        self.weight.copy_(matrix.T)
        self.bias.copy_(-(whitening.centre @ matrix))

    @torch.no_grad()
    def fit_again(self, embeddings: Tensor, labels: Tensor) -> None:
        """Whiten what the trained layer gives now, [N, D], by changing its weights; labels as for `fit`.

        Directions in which the training species differ are not preferred, and how strongly to whiten is not asked of
        them: training has separated them already.
        Dimensions keep their meaning and order: weights of several runs can still be averaged, embeddings truncated.
        """
        vectors = embeddings.double()
        (found,) = fit_whitenings(vectors, labels, [0.0], RIDGE_AFTER_TRAINING)
        matrix = _scaled(found.matrix(), vectors - found.centre)
        weight, bias = self.weight.double().cpu(), self.bias.double().cpu()
        self.weight.copy_(matrix.T @ weight)
        self.bias.copy_((bias - found.centre) @ matrix)


def fit_whitenings(
    vectors: Tensor, labels: Tensor, strengths: Sequence[float], ridge: float | None = None
) -> list[Whitening]:
    """Fit a whitening of vectors [N, C] of labels [N] for each strength, as `whitening.fit_whitening` does.

    Raises ConfigError if no two images of a species differ.
    """
    found = fit_whitening(vectors, labels, strengths, ridge)
    if not found:
        raise ConfigError(
            f"model.head=whitened compares images of one species, and of the {len(vectors)} training images no "
            "two of a species differ: set model.head=linear"
        )
    return found


def _scaled(matrix: Tensor, centred: Tensor) -> Tensor:
    """Scale a matrix [C, D] so that centred vectors [N, C] come out sqrt(D) long on average."""
    length = float((centred @ matrix).norm(dim=1).mean())
    return matrix * (math.sqrt(matrix.shape[1]) / length)


def create_head(name: str, channels: int, dimensions: int | None = None) -> nn.Module:
    """Return a head by name, from `channels` to `dimensions`.

    `none` keeps the pooled layer; `batch_norm` is the neck of Luo et al. 2019 (arXiv:1903.07071), which standardises
    its channels by running means and variances, and learns scales and offsets.

    dimensions: 1 or more, and for `whitened` at most `channels`. None: `channels` for `whitened`, 512 for `linear` and
        `mlp`; the only value that `none` and `batch_norm` take.
    Raises ConfigError for another name, and for dimensions that the head cannot have.
    """
    check_choice("model.head", name, get_args(HeadName))
    _check_dimensions(name, channels, dimensions)
    if name == "none":
        return nn.Identity()
    if name == "batch_norm":
        return nn.BatchNorm1d(channels)
    if name == "whitened":
        return Whitened(channels, dimensions or channels)
    hidden = [nn.Linear(channels, channels), nn.ReLU(inplace=True)] if name == "mlp" else []
    output = nn.Linear(channels, dimensions or DIMENSIONS)
    return nn.Sequential(*hidden, output) if hidden else output


def _check_dimensions(name: str, channels: int, dimensions: int | None) -> None:
    if dimensions is None:
        return
    found = f"model.dimensions={dimensions}"
    if name == "none":
        raise ConfigError(f"{found} needs a head: set model.head=whitened, linear or mlp, or model.dimensions=null")
    if name == "batch_norm":
        raise ConfigError(
            f"{found}, but model.head=batch_norm keeps the {channels} channels of the backbone: set "
            "model.dimensions=null, or model.head=whitened, linear or mlp"
        )
    if dimensions < 1:
        raise ConfigError(f"{found} must be 1 or more (null: all channels for whitened, {DIMENSIONS} for other heads)")
    if name == "whitened" and dimensions > channels:
        raise ConfigError(
            f"{found} is above the {channels} channels of the backbone, and model.head=whitened cannot have more "
            f"dimensions: set model.dimensions to {channels} or fewer, or model.head=linear"
        )
