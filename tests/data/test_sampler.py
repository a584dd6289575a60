"""P x K batches."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.data.dataset import View
from conspecific.data.sampler import SpeciesBatches
from conspecific.errors import DataError

worlds = st.tuples(
    st.lists(st.integers(1, 12), min_size=2, max_size=15), st.integers(2, 16), st.integers(1, 6), st.integers(0, 9)
)


def batches_of(counts: list[int], species: int, pictures: int, seed: int = 0) -> SpeciesBatches:
    """Sample ids are 1000 and up, so that they are not mistaken for rows."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return SpeciesBatches(np.arange(1000, 1000 + labels.size), labels, species, pictures, seed, [32])


def label_of(view: View, counts: list[int]) -> int:
    return int(np.repeat(np.arange(len(counts)), counts)[view.sample_id - 1000])


@given(worlds)
def test_a_batch_holds_p_species_k_times(world: tuple[list[int], int, int, int]) -> None:
    counts, species, pictures, seed = world
    sampler = batches_of(counts, species, pictures, seed)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    for batch in batches:
        found = Counter(label_of(view, counts) for view in batch)
        assert len(found) == min(species, len(counts))
        assert set(found.values()) == {pictures}


@given(worlds)
def test_every_species_comes_up_equally_often(world: tuple[list[int], int, int, int]) -> None:
    counts, species, pictures, seed = world
    batches = list(batches_of(counts, species, pictures, seed))
    dealt = Counter(label_of(view, counts) for batch in batches for view in batch)
    times = [dealt[label] // pictures for label in range(len(counts))]
    assert max(times) - min(times) <= 1


@given(worlds)
def test_pictures_of_a_species_come_up_equally_often(world: tuple[list[int], int, int, int]) -> None:
    counts, species, pictures, seed = world
    dealt = Counter(view.sample_id for batch in batches_of(counts, species, pictures, seed) for view in batch)
    first = 1000
    for count in counts:
        times = [dealt[index] for index in range(first, first + count)]
        assert max(times) - min(times) <= 1
        first += count


@given(worlds)
def test_order_is_decided_by_seed_and_epoch(world: tuple[list[int], int, int, int]) -> None:
    first, again = batches_of(*world), batches_of(*world)
    for sampler in (first, again):
        sampler.set_epoch(5)
    assert list(first) == list(again) == list(first)


def test_epochs_and_seeds_differ() -> None:
    sampler = batches_of([10] * 10, 5, 2)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert list(batches_of([10] * 10, 5, 2, seed=1)) != epochs[0]


def test_an_epoch_shows_about_as_many_pictures_as_there_are() -> None:
    assert len(batches_of([10] * 10, 5, 4)) == 5
    assert len(batches_of([10] * 11, 5, 4)) == 6
    assert len(batches_of([1, 1], 2, 8)) == 1


def test_small_species_repeat_pictures_as_other_views() -> None:
    [batch] = batches_of([1, 8], 2, 4)
    alone = [view for view in batch if view.sample_id == 1000]
    assert len(alone) == 4
    assert len({view.seed for view in alone}) == 4


def test_large_species_do_not_repeat_pictures_in_a_batch() -> None:
    for batch in batches_of([9] * 6, 3, 4):
        assert len({view.sample_id for view in batch}) == 12


def test_more_species_a_batch_than_there_are_takes_all() -> None:
    assert len(next(iter(batches_of([4, 4, 4], 16, 2)))) == 6


@pytest.mark.parametrize(("counts", "species", "pictures"), [([9], 4, 2), ([9, 9], 1, 4), ([9, 9], 2, 0)])
def test_batches_that_compare_nothing_are_refused(counts: list[int], species: int, pictures: int) -> None:
    with pytest.raises(DataError, match=f"batch_species={species} .of {len(counts)} in train. .*_pictures={pictures}"):
        batches_of(counts, species, pictures)
