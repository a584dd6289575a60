"""P x K batches: P species, K images of each, the same for a seed and an epoch on every machine."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch.utils.data import Sampler

from conspecific.data.dataset import AugmentedView
from conspecific.errors import DataError
from conspecific.types import IntArray


class PKSampler(Sampler[list[AugmentedView]]):
    """Batches of `species` x `images` views; an epoch shows about as many images as there are.

    Every species comes up equally often (Hermans et al. 2017). A species with fewer than `images` images repeats
    some of them, each as another augmented view. The order is a function of (seed, epoch) alone: call `set_epoch`.

    With `hard_share`, that share of a batch's species are not dealt but drawn among those that images of the batch
    are confused with: each brings the very image that is confused. `confused` says with what: sample id -> sample
    ids of other species, nearest first.
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
        """ids: [N] sample ids; labels: [N] their species. sizes: side of the views in each epoch, the last one's for
        later epochs. Raises DataError when fewer than two species fit a batch.
        """
        self.groups = [ids[labels == label] for label in np.unique(labels)]
        self.group_of = {int(index): number for number, group in enumerate(self.groups) for index in group}
        self.sizes, self.hard_share = sizes, hard_share
        self.confused: Mapping[int, Sequence[int]] = {}
        self.species, self.images, self.seed, self.epoch = min(species, len(self.groups)), images, seed, 0
        self.sampler = self  # Lightning tells `batch_sampler.sampler` the epoch
        if self.species < 2 or images < 1:
            raise DataError(
                f"a training batch needs two species and one image of each at least; found loader.classes_per_batch="
                f"{species} (of {len(self.groups)} in train) and loader.samples_per_class={images}"
            )
        self.batches = max(1, round(len(ids) / (self.species * images)))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    @property
    def size(self) -> int:
        """Side of this epoch's views, in pixels."""
        return self.sizes[min(self.epoch, len(self.sizes) - 1)]

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
                batch += dealt if index in dealt else [index, *dealt[1:]]  # no image twice where there are others
            yield [AugmentedView(index, int(rng.integers(2**31)), self.size) for index in batch]

    def _confused_with(self, batch: list[int], chosen: list[int], count: int, rng: np.random.Generator) -> list[int]:
        """Draw `count` images that images of the batch are confused with, each of a species not yet in it."""
        found: list[int] = []
        there = set(chosen)
        while len(found) < count:
            anchor = batch[int(rng.integers(len(batch)))]
            confused = self.confused.get(anchor, [])
            others = [index for index in confused if self.group_of[index] not in there]
            if not others:  # of an image that is confused with none of the rest, any other species will do
                others = [index for index, group in self.group_of.items() if group not in there]
            found.append(others[int(rng.integers(len(others)))])
            there.add(self.group_of[found[-1]])
        return found

    def _species_order(self, rng: np.random.Generator, species: int) -> Iterator[list[int]]:
        """Deal species from shuffled rounds; one that a batch would hold twice waits for the next."""
        waiting: list[int] = []
        for _ in range(self.batches):
            chosen: list[int] = []
            while len(chosen) < species:
                if not any(group not in chosen for group in waiting):
                    waiting += rng.permutation(len(self.groups)).tolist()
                place = next(place for place, group in enumerate(waiting) if group not in chosen)
                chosen.append(waiting.pop(place))
            yield chosen
