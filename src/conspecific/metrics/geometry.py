"""The geometry of embeddings: alignment, uniformity, effective rank and mean similarity.

Every function takes unit vectors [N, D] float32; a zero vector stays zero and is at distance 1 of all others.
`describe_geometry` takes vectors of any length.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

BLOCK_BYTES = 64 * 2**20
LEAST_RANK = 1.9
MOST_SIMILAR = 0.98


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of one encoder's embeddings, L2-normalised.

    alignment: over all images, in [0, 4]; None if no species has two images. Lower is tighter.
    uniformity, effective_rank, mean_similarity: of a sample of `images`. Effective rank is at most their number, so
        compare it only if `images` is the same.
    species: the number of species of the images; 0 if none is known.
    """

    alignment: float | None
    uniformity: float
    effective_rank: float
    mean_similarity: float
    images: int
    species: int

    @property
    def is_collapsed(self) -> bool:
        """Whether the embeddings have collapsed, so that images can hardly be distinguished.

        A mean similarity above 0.98 is collapse into a point: the mean squared distance of two images is then below
        0.04, a hundredth of the maximum. A lower mean similarity is not a collapse: pooled features are all positive.
        Effective rank does not detect a point: noise in D directions gives it a rank of several.
        An effective rank below 1.9 is collapse into a line, which on the sphere is two opposite points. Perfect
        embeddings of S species need S - 1 directions (Papyan et al. 2020, arXiv:2008.08186): two species need only
        one, so the rule does not apply to them; three need two.
        """
        return self.mean_similarity > MOST_SIMILAR or (self.effective_rank < LEAST_RANK and self.species not in (1, 2))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)


def describe_geometry(vectors: Vectors, labels: Labels, most: int = 1024, seed: int = 0) -> Geometry:
    """Describe embeddings of any length, memory-mapped ones too: they are normalised here, zero staying zero.

    vectors: [N, D], N >= 2, finite. labels: [N], -1 where the species is not known.
    most: how many images to draw for all but alignment. The draw depends on N, `most` and `seed` alone, so that two
        encoders of the same images in the same order are described by the same ones.
    Raises ValueError with fewer than two images.

    >>> four = np.array([[2, 0], [3, 0], [0, 1], [0, 5]], np.float32)
    >>> found = describe_geometry(four, np.array([0, 0, 1, 1]))
    >>> found.alignment, round(found.effective_rank, 6), round(found.mean_similarity, 6), found.is_collapsed
    (0.0, 2.0, 0.333333, False)
    """
    count = len(vectors)
    rows = np.sort(np.random.default_rng(seed).permutation(count)[:most])
    sample = _unit(vectors[rows])
    support = np.unique(labels[labels >= 0], return_counts=True)[1]
    return Geometry(
        alignment=_alignment(vectors, labels, normalise=True) if support.max(initial=0) > 1 else None,
        uniformity=uniformity(sample),
        effective_rank=effective_rank(sample),
        mean_similarity=mean_similarity(sample),
        images=len(sample),
        species=support.size,
    )


def alignment(vectors: Vectors, labels: Labels) -> float:
    """Mean squared distance of the pairs of one species (Wang and Isola 2020, arXiv:2005.10242, alpha = 2).

    The mean is over pairs, so a species of n images counts n (n - 1) / 2 times. Its pairs are not visited: the sum of
    their squared distances is n sum |x|^2 - |sum x|^2.
    vectors: [N, D]. labels: [N]; -1 is nobody's pair. Returns a mean in [0, 4], 0 where each species is one point.
    Raises ValueError where no species has two images.

    >>> alignment(np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([0, 0, 0])).__round__(6)
    1.333333
    """
    return _alignment(vectors, labels, normalise=False)


def uniformity(vectors: Vectors) -> float:
    """Log of the mean over pairs of exp(-2 squared distance) (Wang and Isola 2020, arXiv:2005.10242, t = 2).

    vectors: [N, D], N >= 2. Returns a log in [-8, 0]: 0 where all are one point, -4 where they are spread over a sphere
    of very many dimensions; less than that only where images oppose each other. Raises ValueError without a pair.

    >>> uniformity(np.array([[1, 0], [-1, 0]], np.float32))
    -8.0
    """
    pairs = _pairs(len(vectors))
    squares = _squares(vectors)
    total = 0.0
    step = max(1, BLOCK_BYTES // (16 * len(vectors)))
    for start in range(0, len(vectors), step):
        stop = min(start + step, len(vectors))
        similarity = (vectors[start:stop] @ vectors[start:].T).astype(np.float64)
        distance = squares[start:stop, None] + squares[start:] - 2 * similarity
        later = np.arange(start, len(vectors)) > np.arange(start, stop)[:, None]
        total += float(np.exp(-2 * np.clip(distance, 0, 4)).sum(where=later))
    return float(np.log(total / pairs))


def effective_rank(vectors: Vectors) -> float:
    """Exponential of the entropy of the singular values, each / their sum (Roy and Vetterli 2007, EUSIPCO).

    How many directions the vectors fill, were they filled equally; not centred, as in RankMe (Garrido et al. 2023,
    arXiv:2210.02885). vectors: [N, D]. Returns a number in [1, min(N, D)]; 0 where all are zero.
    Singular values below 1e-6 of the largest or so are lost in rounding and count as none.

    >>> round(effective_rank(np.eye(3, dtype=np.float32)), 6)
    3.0
    """
    # float64 throughout: a float32 Gram matrix has noise of 1e-3 of the largest singular value in every direction
    energies = np.linalg.eigvalsh(_smaller_gram(vectors))
    noise = len(energies) * np.finfo(np.float64).eps * energies.max(initial=0)
    values = np.sqrt(energies[energies > noise])
    if values.size == 0:
        return 0.0
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def mean_similarity(vectors: Vectors) -> float:
    """Mean cosine similarity of all pairs: (|sum x|^2 - sum |x|^2) / (N (N - 1)).

    vectors: [N, D], N >= 2. Returns a mean in [-1 / (N - 1), 1], 1 where all are one point. Raises ValueError without
    a pair.

    >>> mean_similarity(np.array([[1, 0], [-1, 0]], np.float32))
    -1.0
    """
    pairs = _pairs(len(vectors))
    total = vectors.sum(axis=0, dtype=np.float64)
    return float(total @ total - _squares(vectors).sum()) / (2 * pairs)


def _alignment(vectors: Vectors, labels: Labels, normalise: bool) -> float:
    distances, pairs = 0.0, 0
    for rows in _by_species(labels):
        total, squares = np.zeros(vectors.shape[1]), 0.0
        step = max(1, BLOCK_BYTES // (4 * vectors.shape[1]))
        for start in range(0, len(rows), step):
            block = vectors[rows[start : start + step]]
            block = _unit(block) if normalise else block
            total += block.sum(axis=0, dtype=np.float64)
            squares += float(_squares(block).sum())
        distances += max(0.0, len(rows) * squares - float(total @ total))
        pairs += len(rows) * (len(rows) - 1) // 2
    if pairs == 0:
        raise ValueError("alignment needs a species with at least 2 images; found none")
    return distances / pairs


def _by_species(labels: Labels) -> Iterator[NDArray[np.int64]]:
    """The rows of each species that has two or more, ascending."""
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    yield from (rows for rows in np.split(order, starts) if len(rows) > 1)


def _smaller_gram(vectors: Vectors) -> NDArray[np.float64]:
    """Inner products of the rows or, where there are fewer, of the columns, with the same eigenvalues but for zeros."""
    count, dimensions = vectors.shape
    side = min(count, dimensions)
    gram = np.zeros((side, side))
    step = max(1, BLOCK_BYTES // (8 * side))
    for start in range(0, max(count, dimensions), step):
        part = vectors[:, start : start + step].T if count <= dimensions else vectors[start : start + step]
        block = part.astype(np.float64)
        gram += block.T @ block
    return gram


def _unit(vectors: Vectors) -> Vectors:
    """L2-normalised, zero staying zero."""
    norms = np.sqrt(_squares(vectors))
    norms[norms == 0] = 1
    return np.divide(vectors, norms[:, None], out=np.empty(vectors.shape, np.float32), casting="same_kind")


def _squares(vectors: Vectors) -> NDArray[np.float64]:
    """Squared lengths [N] in float64, where the square of no float32 overflows or vanishes."""
    found: NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return found


def _pairs(count: int) -> int:
    if count < 2:
        raise ValueError(f"pairs need at least 2 images; found {count}")
    return count * (count - 1) // 2
