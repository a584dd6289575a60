"""Within-species whitening of vectors, as strong as other species of the same images allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from conspecific.metrics.retrieval import map_at_r

RIDGES = (30.0, 10.0, 3.0, 1.0)  # in units of the mean within-species variance, the weakest whitening first
FOLDS = 5


@dataclass(frozen=True)
class Whitening:
    """A linear map of centred vectors of C channels: `basis` @ `inside` in R directions, `outside` in all others.

    basis: [C, R], orthonormal directions that the images it was fitted on span. inside: [R, R], up to a rotation of the
    outputs. outside: the factor of directions of which those images say nothing. ridge: what was added to the
    within-species variances, in units of their mean.
    """

    centre: Tensor
    basis: Tensor
    inside: Tensor
    outside: float
    ridge: float

    def matrix(self) -> Tensor:
        """Return the map without a rotation: as the symmetric matrix [C, C]."""
        squares, axes = torch.linalg.eigh(self.inside @ self.inside.T)
        root = (axes * squares.clamp(min=0).sqrt()) @ axes.T
        change = root - self.outside * torch.eye(len(root), dtype=root.dtype)
        matrix: Tensor = self.basis @ change @ self.basis.T
        return matrix + self.outside * torch.eye(len(matrix), dtype=root.dtype)

    def principal(self, vectors: Tensor) -> Tensor:
        """Return the map rotated so that outputs have falling variances in these vectors [N, C]: a matrix [C, C].

        Outputs are `vectors @ matrix`. Directions outside the span of the fitted images come last.
        """
        inside: Tensor = self.basis @ self.inside
        outputs = (vectors - self.centre) @ inside
        inside = inside @ torch.linalg.eigh(outputs.T @ outputs)[1].flip(1)
        channels, spanned = inside.shape
        if spanned == channels:
            return inside
        others = torch.linalg.qr(self.basis, mode="complete")[0][:, spanned:]
        return torch.cat([inside, self.outside * others], dim=1)


def fit_whitening(
    vectors: Tensor, labels: Tensor, strengths: Sequence[float], ridge: float | None = None
) -> list[Whitening]:
    """Fit a whitening of vectors [N, C] of labels [N] for each strength; none if no two images of a species differ.

    With within-species covariance W, of which m is the mean variance, vectors are multiplied by (W + ridge m I)^(-1/2).
    The ridge of `RIDGES` is the one with the best mean map@r over images of species that the fit leaves out
    (cross-validation over species; on ties, and with fewer than four species, the weakest whitening), or the one that
    is given. Then directions are weighted by how much species differ in them, b, relative to images of one species: by
    sqrt(b / (1 + 2 b)), the square root of the factor of the dot product in the likelihood ratio of the two-covariance
    model (Ioffe 2006, "Probabilistic linear discriminant analysis"; Brummer & de Villiers 2010). b is shrunk towards
    its mean over all C directions, of which `strength` in [0, 1] is left: 0 weights all directions alike, 1 keeps no
    direction but those in which the fitted species differ.
    """
    vectors, labels = vectors.double(), torch.unique(labels, return_inverse=True)[1]
    centre = vectors.mean(dim=0)
    basis = _span(vectors - centre)
    coordinates = (vectors - centre) @ basis
    whole = _Covariances.of(coordinates, labels, len(basis))
    if whole is None:
        return []
    ridges = [ridge] * len(strengths) if ridge else _validated_ridges(coordinates, labels, len(basis), strengths)
    white = {each: whole.whiten(each) for each in set(ridges)}
    found = []
    for strength, own in zip(strengths, ridges, strict=True):
        weights = white[own].weights(strength)
        inside = white[own].spread @ weights.square_root(len(coordinates.T))
        found.append(Whitening(centre, basis, inside, math.sqrt(weights.outside / own), own))
    return found


def species_means(vectors: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of each species' vectors [N, D], [C, D]; labels [N] are dense from 0."""
    sums = torch.zeros(int(labels.max()) + 1, vectors.shape[1], dtype=vectors.dtype).index_add_(0, labels, vectors)
    return sums / torch.bincount(labels)[:, None]


class _Weights(NamedTuple):
    """Squared weights of whitened directions: `inside` [M] along `directions` [M, R], orthonormal, `outside` across."""

    directions: Tensor
    inside: Tensor
    outside: float

    def products(self, white: Tensor) -> Tensor:
        """Return the dot products [N, N] of whitened vectors [N, R], weighted."""
        along = white @ self.directions.T.to(white.dtype)
        more: Tensor = (along * (self.inside - self.outside).to(white.dtype)) @ along.T
        return self.outside * white @ white.T + more

    def square_root(self, size: int) -> Tensor:
        """Return the weights themselves, not squared, as a symmetric matrix [R, R]."""
        outside = math.sqrt(self.outside)
        change: Tensor = self.directions.T * (self.inside.sqrt() - outside) @ self.directions
        return outside * torch.eye(size, dtype=change.dtype) + change


class _White(NamedTuple):
    """A whitening, and how far species are apart after it.

    spread: [R, R], the whitening. between: [M] variances between species along `directions` [M, R], relative to those
    within; their mean over all channels is `prior`. None of them where species differ no more than by chance.
    """

    spread: Tensor
    between: Tensor
    directions: Tensor
    prior: float

    def weights(self, strength: float) -> _Weights:
        """Return the squared weights of directions, see `fit_whitening`."""
        if not len(self.between):
            return _Weights(self.directions, self.between, 1.0)
        shrunk = strength * self.between + (1 - strength) * self.prior
        outside = (1 - strength) * self.prior
        return _Weights(self.directions, shrunk / (1 + 2 * shrunk), outside / (1 + 2 * outside))


@dataclass(frozen=True)
class _Covariances:
    """Covariances within and between K species, in R coordinates of C channels.

    within: [R, R], scaled so that variances are 1 on average over all C channels. means: [K, R], centred species means,
    in the same unit. noise: mean over species of 1 / images, the share of the within-species covariance in the
    covariance of the means.
    """

    within: Tensor
    means: Tensor
    noise: float
    channels: int

    @classmethod
    def of(cls, coordinates: Tensor, labels: Tensor, channels: int) -> Self | None:
        """Estimate them from [N, R]; labels [N] are dense from 0. None if no two images of a species differ."""
        means = species_means(coordinates, labels)
        apart = coordinates - means[labels]
        freedom = max(len(coordinates) - len(means), 1)
        covariance = apart.T @ apart / freedom
        unit = covariance.trace() / channels
        if unit <= 1e-12 * coordinates.square().sum() / len(coordinates):
            return None
        noise = float((1 / torch.bincount(labels).double()).mean())
        return cls(covariance / unit, (means - means.mean(dim=0)) / unit.sqrt(), noise, channels)

    def whiten(self, ridge: float) -> _White:
        """Return the whitening with a ridge, and what is left between species after it."""
        identity = torch.eye(len(self.within), dtype=self.within.dtype)
        factor = torch.linalg.cholesky(self.within + ridge * identity)
        spread = torch.linalg.solve_triangular(factor, identity, upper=False).T
        within = (len(identity) - ridge * float(spread.square().sum())) / self.channels  # mean variance once whitened
        squares, directions = _right_singular(self.means @ spread)
        between = squares / max(len(self.means) - 1, 1) / within
        signal = 1 - self.noise * self.channels / max(float(between.sum()), 1e-12)
        if signal <= 0:  # species differ no more than chance makes their means differ
            return _White(spread, between[:0], directions[:0], 0.0)
        between = between * signal
        return _White(spread, between, directions, float(between.sum()) / self.channels)


def _right_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared singular values [M] of a matrix [K, R] that are not 0, and their right vectors [M, R].

    They come from the smaller of the two Gram matrices: a singular value decomposition takes many times as long.
    """
    if len(matrix) > matrix.shape[1]:
        squares, axes = torch.linalg.eigh(matrix.T @ matrix)
        found = squares > 1e-10 * squares.max()
        return squares[found], axes.T[found]
    squares, axes = torch.linalg.eigh(matrix @ matrix.T)
    found = squares > 1e-10 * squares.max()
    return squares[found], (axes.T[found] @ matrix) / squares[found].sqrt()[:, None]


def _span(centred: Tensor) -> Tensor:
    """Return orthonormal directions [C, R] that span N vectors [N, C]; all C directions where N is C or more."""
    images, channels = centred.shape
    if images >= channels:
        return torch.eye(channels, dtype=centred.dtype)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    basis: Tensor = directions[singular > 1e-9 * singular.max()].T
    return basis


def _validated_ridges(coordinates: Tensor, labels: Tensor, channels: int, strengths: Sequence[float]) -> list[float]:
    """Return, for each strength, the ridge with the best map@r on species left out of the fit, the first of equals."""
    species = int(labels.max()) + 1
    folds = min(FOLDS, species // 2)
    if folds < 2:
        return [RIDGES[0]] * len(strengths)
    order = torch.randperm(species, generator=torch.Generator().manual_seed(0))
    fold_of = torch.empty(species, dtype=torch.long)
    fold_of[order] = torch.arange(species) % folds
    coordinates = coordinates.float()  # half the time
    totals = torch.zeros(len(strengths), len(RIDGES), dtype=torch.float64)
    for fold in range(folds):
        out = fold_of[labels] == fold
        rest = torch.unique(labels[~out], return_inverse=True)[1]
        covariances = _Covariances.of(coordinates[~out], rest, channels)
        if covariances is None:
            continue
        for place, ridge in enumerate(RIDGES):
            found = covariances.whiten(ridge)
            white = coordinates[out] @ found.spread
            for row, strength in enumerate(strengths):
                totals[row, place] += _total_map_at_r(found.weights(strength).products(white), labels[out])
    return [RIDGES[int(place)] for place in totals.round(decimals=9).argmax(dim=1)]


def _total_map_at_r(products: Tensor, labels: Tensor) -> float:
    """Return the sum of map@r of images by cosine; products: [N, N] dot products. Images without a positive add 0."""
    length = products.diagonal().clamp(min=1e-12).sqrt()
    scores = (products / length / length[:, None]).fill_diagonal_(-torch.inf)
    positives = torch.bincount(labels)[labels] - 1
    if not int(positives.max()):
        return 0.0
    hits = labels[scores.topk(int(positives.max())).indices] == labels[:, None]
    found = positives > 0
    return float(map_at_r(hits[found].numpy(), positives[found].numpy()).sum())
