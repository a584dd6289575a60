"""Within-species whitening of vectors, as strong as other species of the same images allow."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from conspecific.metrics.retrieval import map_at_r

RIDGES = (30.0, 10.0, 3.0, 1.0)  # in units of the mean within-species variance, the weakest whitening first
FOLDS = 5


@dataclass(frozen=True)
class Whitening:
    """A linear map of centred vectors of C channels: `basis` [C, R] root [R, R] basis' + outside * (I - basis basis').

    basis: orthonormal directions that the images it was fitted on span. root: symmetric. outside: the factor of all
    other directions, of which those images say nothing. ridge: what was added to the within-species variances, in units
    of their mean.
    """

    centre: Tensor
    basis: Tensor
    root: Tensor
    outside: float
    ridge: float

    def matrix(self) -> Tensor:
        """Return the map as a symmetric matrix [C, C]."""
        change = self.root - self.outside * torch.eye(len(self.root), dtype=self.root.dtype)
        return self.basis @ change @ self.basis.T + self.outside * torch.eye(len(self.basis), dtype=self.root.dtype)

    def principal(self, vectors: Tensor) -> Tensor:
        """Return the map followed by a rotation, [C, C], whose outputs have falling variances in these vectors [N, C].

        Outputs are `vectors @ matrix`. Directions outside the span of the fitted images come last.
        """
        inside = self.basis @ self.root
        outputs = (vectors - self.centre) @ inside
        axes = torch.linalg.eigh(outputs.T @ outputs)[1].flip(1)
        others = torch.linalg.qr(self.basis, mode="complete")[0][:, inside.shape[1] :]
        return torch.cat([inside @ axes, self.outside * others], dim=1)


def fit_whitening(vectors: Tensor, labels: Tensor, strength: float) -> Whitening | None:
    """Fit the whitening of vectors [N, C] of labels [N]; None if no two images of a species differ.

    With within-species covariance W, of which m is the mean variance, vectors are multiplied by (W + ridge m I)^(-1/2).
    The ridge of `RIDGES` is the one with the best mean map@r over images of species that the fit leaves out
    (cross-validation over species; on ties, and with fewer than four species, the weakest whitening). Then directions
    are weighted by how much species differ in them, b, relative to images of one species: by sqrt(b / (1 + 2 b)), the
    square root of the factor of the dot product in the likelihood ratio of the two-covariance model (Ioffe 2006,
    "Probabilistic linear discriminant analysis"; Brummer & de Villiers 2010). b is shrunk towards its mean over all C
    directions, of which `strength` in [0, 1] is left: 0 weights all directions alike, 1 keeps no direction but those in
    which the fitted species differ.
    """
    vectors, labels = vectors.double(), torch.unique(labels, return_inverse=True)[1]
    centre = vectors.mean(dim=0)
    basis = _span(vectors - centre)
    coordinates = (vectors - centre) @ basis
    whole = _Covariances.of(coordinates, labels, len(basis))
    if whole is None:
        return None
    ridge = _validated_ridge(coordinates, labels, len(basis), strength)
    spread, weights, outside = whole.whiten(ridge, strength)
    squares, axes = torch.linalg.eigh(spread @ weights @ spread.T)
    root = (axes * squares.clamp(min=0).sqrt()) @ axes.T
    return Whitening(centre, basis, root, outside**0.5, ridge)


def species_means(vectors: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of each species' vectors [N, D], [C, D]; labels [N] are dense from 0."""
    sums = torch.zeros(int(labels.max()) + 1, vectors.shape[1], dtype=vectors.dtype).index_add_(0, labels, vectors)
    return sums / torch.bincount(labels)[:, None]


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

    def whiten(self, ridge: float, strength: float) -> tuple[Tensor, Tensor, float]:
        """Return the whitening [R, R], the squared weights of whitened directions [R, R], and the squared factor of
        directions outside the R."""
        identity = torch.eye(len(self.within), dtype=self.within.dtype)
        factor = torch.linalg.cholesky(self.within + ridge * identity)
        spread = torch.linalg.solve_triangular(factor, identity, upper=False).T
        within = (len(identity) - ridge * float(spread.square().sum())) / self.channels  # mean variance once whitened
        _, singular, directions = torch.linalg.svd(self.means @ spread, full_matrices=False)
        species = max(len(self.means) - 1, 1)
        between = singular.square() / species / within
        signal = 1 - self.noise * self.channels / max(float(between.sum()), 1e-12)
        if signal <= 0:  # species differ no more than chance makes their means differ
            return spread, identity, 1 / ridge
        between = between * signal
        prior = between.sum() / self.channels
        inside = _likelihood_factor(strength * between + (1 - strength) * prior)
        outside = _likelihood_factor((1 - strength) * prior)
        weights = outside * identity + directions.T * (inside - outside) @ directions
        return spread, weights, float(outside) / ridge


def _likelihood_factor(between: Tensor) -> Tensor:
    """Factor of the dot product in the likelihood ratio; between-species variances are in units of those within."""
    return between / (1 + 2 * between)


def _span(centred: Tensor) -> Tensor:
    """Return orthonormal directions [C, R] that span N vectors [N, C]; all C directions where N is C or more."""
    images, channels = centred.shape
    if images >= channels:
        return torch.eye(channels, dtype=centred.dtype)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    basis: Tensor = directions[singular > 1e-9 * singular.max()].T
    return basis


def _validated_ridge(coordinates: Tensor, labels: Tensor, channels: int, strength: float) -> float:
    """Return the ridge with the best map@r on species that are left out of the fit, the first of equals."""
    species = int(labels.max()) + 1
    folds = min(FOLDS, species // 2)
    if folds < 2:
        return RIDGES[0]
    order = torch.randperm(species, generator=torch.Generator().manual_seed(0))
    fold_of = torch.empty(species, dtype=torch.long)
    fold_of[order] = torch.arange(species) % folds
    coordinates = coordinates.float()  # half the time
    totals = torch.zeros(len(RIDGES), dtype=torch.float64)
    for fold in range(folds):
        out = fold_of[labels] == fold
        rest = torch.unique(labels[~out], return_inverse=True)[1]
        covariances = _Covariances.of(coordinates[~out], rest, channels)
        if covariances is not None:
            for place, ridge in enumerate(RIDGES):
                spread, weights, _ = covariances.whiten(ridge, strength)
                white = coordinates[out] @ spread
                totals[place] += _total_map_at_r(white @ weights @ white.T, labels[out])
    return RIDGES[int(totals.round(decimals=9).argmax())]


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
