"""Batches of images that are drawn one by one, with more or less regard to how many images their species have."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from conspecific.data.dataset import AugmentedView
from conspecific.data.sampler import EpochSampler, batches_per_epoch
from conspecific.errors import DataError
from conspecific.types import IntArray

EXPONENTS = {"instance_balanced": 1.0, "square_root": 0.5, "class_balanced": 0.0}


def species_shares(counts: IntArray, exponent: float) -> NDArray[np.float64]:
    """Return the share of the draws that each species gets, [S]: n^q / sum of n^q (Kang et al. 2020, arXiv:1910.09217).

    counts: [S] n, the training images of each species. exponent: q; 1 is instance-balanced, 0 class-balanced and 0.5
    square-root sampling.
    """
    powers = counts.astype(np.float64) ** exponent
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def drawn_by_share(counts: IntArray, size: int, exponent: float) -> NDArray[np.float64]:
    """Return how many images of each species an epoch draws, [S]; rounded, up or down at random, by the sampler.

    counts: [S] training images of each species. size: images of a batch, all of them at most. exponent: see
    `species_shares`.
    """
    images = int(counts.sum())
    size = min(size, images)
    draws: NDArray[np.float64] = batches_per_epoch(images, size) * size * species_shares(counts, exponent)
    return draws


class BalancedSampler(EpochSampler):
    """Batches of single images, whose species are drawn by `species_shares`.

    An epoch has about as many augmentations as there are images. A species that is to be drawn 3.4 times an epoch is
    drawn 3 or 4 times, over many epochs as often as its share says (systematic sampling), and each of its images as
    often as the others, to within one. The order depends on the seed and the epoch only: call `set_epoch`.
    """

    def __init__(
        self, ids: IntArray, labels: IntArray, size: int, exponent: float, seed: int, sizes: Sequence[int]
    ) -> None:
        """Group the images by species.

        ids: [N] sample ids. labels: [N] their species numbers. size: images of a batch, N at most. exponent: see
        `species_shares`. sizes: side of the crops in pixels for each epoch; the last one also applies to later epochs.

        Raises DataError if there are fewer than two species or a batch has no image.
        """
        super().__init__(ids, labels, seed, sizes)
        if len(self.groups) < 2 or size < 1:
            raise DataError(
                f"training needs at least two species and one image in a batch; found {len(self.groups)} species in "
                f"train, and loader.classes_per_batch times loader.samples_per_class is {size}"
            )
        self.set_batches(len(ids), min(size, len(ids)))
        counts = np.array([len(group) for group in self.groups])
        self.draws = drawn_by_share(counts, size, exponent)

    def __iter__(self) -> Iterator[list[AugmentedView]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        dealt = [
            np.resize(rng.permutation(group), count)
            for group, count in zip(self.groups, self._counts(rng), strict=True)
        ]
        order = rng.permutation(np.concatenate(dealt))
        for batch in order.reshape(len(self), self.batch_size).tolist():
            yield [AugmentedView(index, int(rng.integers(2**31)), self.size) for index in batch]

    def _counts(self, rng: np.random.Generator) -> IntArray:
        """Return how often each species is drawn in this epoch, [S]: its expected draws, rounded up or down at random.

        Species are ordered at random first, so that rare ones that are neighbours by number are not drawn in turns.
        """
        order = rng.permutation(len(self.groups))
        ends = np.floor(np.cumsum(self.draws[order]) + rng.random()).astype(np.int64)
        ends[-1] = len(self) * self.batch_size  # whatever the rounding of the sum
        counts = np.zeros(len(order), np.int64)
        counts[order] = np.diff(ends, prepend=0)
        return counts
