"""P x K batches: P species, K pictures of each, the same for a seed and an epoch on every machine."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from conspecific.data.dataset import View
from conspecific.errors import DataError
from conspecific.types import IntArray


class SpeciesBatches(Sampler[list[View]]):
    """Batches of `species` x `pictures` views; an epoch shows about as many pictures as there are.

    Every species comes up equally often (Hermans et al. 2017). A species with fewer than `pictures` pictures repeats
    some of them, each as another augmented view. The order is a function of (seed, epoch) alone: call `set_epoch`.
    """

    def __init__(self, ids: IntArray, labels: IntArray, species: int, pictures: int, seed: int) -> None:
        """ids: [N] sample ids; labels: [N] their species. Raises DataError when fewer than two species fit a batch."""
        self.groups = [ids[labels == label] for label in np.unique(labels)]
        self.species, self.pictures, self.seed, self.epoch = min(species, len(self.groups)), pictures, seed, 0
        self.sampler = self  # Lightning tells `batch_sampler.sampler` the epoch
        if self.species < 2 or pictures < 1:
            raise DataError(
                f"a training batch needs two species and one picture of each at least; found loader.batch_species="
                f"{species} (of {len(self.groups)} in train) and loader.batch_pictures={pictures}"
            )
        self.batches = max(1, round(len(ids) / (self.species * pictures)))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[View]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        decks = [rng.permutation(group) for group in self.groups]
        used = np.zeros(len(decks), dtype=np.int64)
        for chosen in self._species_order(rng):
            batch = []
            for group in chosen:
                places = used[group] + np.arange(self.pictures)
                used[group] += self.pictures
                batch += [
                    View(int(index), int(rng.integers(2**31))) for index in decks[group].take(places, mode="wrap")
                ]
            yield batch

    def _species_order(self, rng: np.random.Generator) -> Iterator[IntArray]:
        """Deal species from shuffled rounds; one that a batch would hold twice waits for the next."""
        waiting: list[int] = []
        for _ in range(self.batches):
            chosen: list[int] = []
            while len(chosen) < self.species:
                if not any(group not in chosen for group in waiting):
                    waiting += rng.permutation(len(self.groups)).tolist()
                place = next(place for place, group in enumerate(waiting) if group not in chosen)
                chosen.append(waiting.pop(place))
            yield np.array(chosen)
