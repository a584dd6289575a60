"""Batches of P species with K images of each, the same for a seed and an epoch on every machine."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from conspecific.data.dataset import AugmentedView
from conspecific.errors import DataError
from conspecific.types import FloatArray, IntArray


def batches_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches in which all images could be."""
    return max(1, round(images / batch_size))


def expected_undrawn(counts: IntArray, drawn: NDArray[np.float64], epochs: int) -> FloatArray:
    """Return how many images of each species are expected never to be drawn, [S].

    counts: [S] training images of each species. drawn: [S] images of it that an epoch draws.
    """
    return (counts * np.clip(1 - drawn / counts, 0, 1) ** epochs).astype(np.float32)


def drawn_by_pk(counts: IntArray, species: int, samples: int) -> NDArray[np.float64]:
    """Return how many images of each species an epoch of a PK sampler draws, [S]: of every species equally many.

    counts: [S] training images of each species. species, samples: classes per batch, and samples of each.
    """
    species = min(species, len(counts))
    drawn = batches_per_epoch(int(counts.sum()), species * samples) * species * samples / len(counts)
    return np.full(len(counts), drawn)


class EpochSampler(Sampler[list[AugmentedView]]):
    """Batches of augmentations of training images that depend on the seed and the epoch only.

    groups: the sample ids of each species. batch_size: images of a batch.
    """

    def __init__(self, ids: IntArray, labels: IntArray, seed: int, sizes: Sequence[int]) -> None:
        self.groups = [ids[labels == label] for label in np.unique(labels)]
        self.seed, self.sizes, self.epoch = seed, sizes, 0
        self.sampler = self  # Lightning sets the epoch of `batch_sampler.sampler`
        self.batch_size = self.batches = 0

    def set_batches(self, images: int, batch_size: int) -> None:
        """Set the number of batches for a number of images."""
        self.batch_size, self.batches = batch_size, batches_per_epoch(images, batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    @property
    def size(self) -> int:
        """Side of this epoch's crops, in pixels."""
        return self.sizes[min(self.epoch, len(self.sizes) - 1)]


class PKSampler(EpochSampler):
    """PK sampler: batches of `images` augmentations from each of `species` species (Hermans et al. 2017).

    Every species is drawn equally often, and an epoch has about as many augmentations as there are images. A species
    with fewer than `images` images repeats some of them with another augmentation. The order depends on the seed and
    the epoch only: call `set_epoch`.

    With `hard_share`, that share of a batch's species is drawn from hard negatives: species with an image that the
    network confuses with one of the batch, and that image is in the batch. `confused` maps a sample id to the sample
    ids of other species that are near it, nearest first.
    """

    def __init__(
        self,
        ids: IntArray,
        labels: IntArray,
        species: int,
        images: int,
        seed: int,
        sizes: Sequence[int],
        hard_share: float = 0.0,
    ) -> None:
        """Group the images by species.

        ids: [N] sample ids. labels: [N] their species numbers. sizes: side of the crops in pixels for each epoch; the
            last one also applies to later epochs.

        Raises DataError if a batch has fewer than two species or no image of each.
        """
        super().__init__(ids, labels, seed, sizes)
        self.group_of = {int(index): number for number, group in enumerate(self.groups) for index in group}
        self.hard_share = hard_share
        self.confused: Mapping[int, Sequence[int]] = {}
        self.species, self.images = min(species, len(self.groups)), images
        if self.species < 2 or images < 1:
            raise DataError(
                f"a training batch needs at least two species and one image of each; found loader.classes_per_batch="
                f"{species} (of {len(self.groups)} in train) and loader.samples_per_class={images}"
            )
        self.set_batches(len(ids), self.species * images)

    def __iter__(self) -> Iterator[list[AugmentedView]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        decks = [rng.permutation(group) for group in self.groups]
        used = np.zeros(len(decks), dtype=np.int64)

        def deal(group: int) -> list[int]:
            places = used[group] + np.arange(self.images)
            used[group] += self.images
            dealt: list[int] = decks[group].take(places, mode="wrap").tolist()
            return dealt

        hard = min(round(self.species * self.hard_share), self.species - 1) if self.confused else 0
        for chosen in self._species_order(rng, self.species - hard):
            batch = [index for group in chosen for index in deal(group)]
            for index in self._confused_with(batch, chosen, hard, rng):
                dealt = deal(self.group_of[index])
                batch += dealt if index in dealt else [index, *dealt[1:]]  # no image twice if there are others
            yield [AugmentedView(index, int(rng.integers(2**31)), self.size) for index in batch]

    def _confused_with(self, batch: list[int], chosen: list[int], count: int, rng: np.random.Generator) -> list[int]:
        """Draw `count` images that are confused with images of the batch, each of a species not yet in it."""
        found: list[int] = []
        there = set(chosen)
        while len(found) < count:
            anchor = batch[int(rng.integers(len(batch)))]
            confused = self.confused.get(anchor, [])
            others = [index for index in confused if self.group_of[index] not in there]
            if not others:  # an image that is confused with no further species: take any other
                others = [index for index, group in self.group_of.items() if group not in there]
            found.append(others[int(rng.integers(len(others)))])
            there.add(self.group_of[found[-1]])
        return found

    def _species_order(self, rng: np.random.Generator, species: int) -> Iterator[list[int]]:
        """Draw species from shuffled rounds; a species that would be twice in a batch waits for the next batch."""
        waiting: list[int] = []
        for _ in range(self.batches):
            chosen: list[int] = []
            while len(chosen) < species:
                if not any(group not in chosen for group in waiting):
                    waiting += rng.permutation(len(self.groups)).tolist()
                place = next(place for place, group in enumerate(waiting) if group not in chosen)
                chosen.append(waiting.pop(place))
            yield chosen
