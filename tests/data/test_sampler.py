"""P x K batches."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.data.dataset import AugmentedView
from conspecific.data.sampler import PKSampler, drawn_by_pk, expected_undrawn
from conspecific.errors import DataError

worlds = st.tuples(
    st.lists(st.integers(1, 12), min_size=2, max_size=15), st.integers(2, 16), st.integers(1, 6), st.integers(0, 9)
)


def batches_of(counts: list[int], species: int, images: int, seed: int = 0, hard_share: float = 0.0) -> PKSampler:
    """Sample ids are 1000 and up, so that they are not mistaken for rows."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return PKSampler(np.arange(1000, 1000 + labels.size), labels, species, images, seed, [32], hard_share)


def ids_of(batch: list[AugmentedView]) -> list[int]:
    return [view.sample_id for view in batch]


def label_of(view: AugmentedView, counts: list[int]) -> int:
    return int(np.repeat(np.arange(len(counts)), counts)[view.sample_id - 1000])


@given(worlds)
def test_a_batch_holds_p_species_k_times(world: tuple[list[int], int, int, int]) -> None:
    counts, species, images, seed = world
    sampler = batches_of(counts, species, images, seed)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    for batch in batches:
        found = Counter(label_of(view, counts) for view in batch)
        assert len(found) == min(species, len(counts))
        assert set(found.values()) == {images}


@given(worlds)
def test_every_species_comes_up_equally_often(world: tuple[list[int], int, int, int]) -> None:
    counts, species, images, seed = world
    batches = list(batches_of(counts, species, images, seed))
    dealt = Counter(label_of(view, counts) for batch in batches for view in batch)
    times = [dealt[label] // images for label in range(len(counts))]
    assert max(times) - min(times) <= 1


@given(worlds)
def test_images_of_a_species_come_up_equally_often(world: tuple[list[int], int, int, int]) -> None:
    counts, species, images, seed = world
    dealt = Counter(view.sample_id for batch in batches_of(counts, species, images, seed) for view in batch)
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


@pytest.mark.parametrize(
    ("counts", "epochs"), [([1000, 60, 60, 60], 20), ([40, 8, 8, 3], 3), ([10] * 6, 2), ([9, 2], 1)]
)
def test_undrawn_images_are_estimated_as_they_turn_out(counts: list[int], epochs: int) -> None:
    sampler, drawn = batches_of(counts, 4, 2), set()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        drawn |= {view.sample_id for batch in sampler for view in batch}
    first = 1000 + np.cumsum([0, *counts])
    found = [count - len(drawn & set(range(start, start + count))) for start, count in zip(first, counts, strict=False)]
    np.testing.assert_allclose(
        expected_undrawn(np.array(counts), drawn_by_pk(np.array(counts), 4, 2), epochs), found, atol=3
    )
    assert (sum(found) > 0) == (len(set(counts)) > 1)


def test_epochs_and_seeds_differ() -> None:
    sampler = batches_of([10] * 10, 5, 2)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert list(batches_of([10] * 10, 5, 2, seed=1)) != epochs[0]


def test_an_epoch_shows_about_as_many_images_as_there_are() -> None:
    assert len(batches_of([10] * 10, 5, 4)) == 5
    assert len(batches_of([10] * 11, 5, 4)) == 6
    assert len(batches_of([1, 1], 2, 8)) == 1


def test_small_species_repeat_images_as_other_views() -> None:
    [batch] = batches_of([1, 8], 2, 4)
    alone = [view for view in batch if view.sample_id == 1000]
    assert len(alone) == 4
    assert len({view.seed for view in alone}) == 4


def test_large_species_do_not_repeat_images_in_a_batch() -> None:
    for batch in batches_of([9] * 6, 3, 4):
        assert len({view.sample_id for view in batch}) == 12


def test_more_species_a_batch_than_there_are_takes_all() -> None:
    assert len(next(iter(batches_of([4, 4, 4], 16, 2)))) == 6


@pytest.mark.parametrize(("counts", "species", "images"), [([9], 4, 2), ([9, 9], 1, 4), ([9, 9], 2, 0)])
def test_batches_that_compare_nothing_are_refused(counts: list[int], species: int, images: int) -> None:
    with pytest.raises(
        DataError, match=f"classes_per_batch={species} .of {len(counts)} in train. .*samples_per_class={images}"
    ):
        batches_of(counts, species, images)


def test_the_order_is_what_it_always_was() -> None:
    """Pinned: other batches from the same seed would make runs of one recipe incomparable."""
    sampler = batches_of([3, 5, 2, 4], 3, 2, seed=7)
    sampler.set_epoch(2)
    first, second = list(sampler)
    assert ids_of(first) == [1005, 1006, 1011, 1013, 1002, 1001]
    assert ids_of(second) == [1009, 1008, 1000, 1002, 1003, 1007]
    assert [view.seed for view in first] == [294000375, 1570423902, 860532579, 812849551, 122460328, 503885154]


def test_a_share_of_hard_species_changes_nothing_until_it_is_known_what_is_confused() -> None:
    assert list(batches_of([9] * 6, 3, 4, hard_share=0.5)) == list(batches_of([9] * 6, 3, 4))


def test_each_epoch_has_its_size_and_later_ones_the_last() -> None:
    labels = np.repeat(np.arange(3), 4)
    sampler = PKSampler(np.arange(12), labels, 2, 2, 0, [32, 32, 64])
    found = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        found.append({view.size for batch in sampler for view in batch})
    assert found == [{32}, {32}, {64}, {64}, {64}]


# --- species that are confused


@st.composite
def confused_worlds(draw: st.DrawFn) -> tuple[PKSampler, list[int]]:
    counts, species, images, seed = draw(worlds)
    sampler = batches_of(counts, species, images, seed, draw(st.sampled_from([0.1, 0.5, 0.9])))
    labels = np.repeat(np.arange(len(counts)), counts)
    ids = list(range(1000, 1000 + labels.size))
    other = {index: [each for each in ids if labels[each - 1000] != labels[index - 1000]] for index in ids}
    known = draw(st.lists(st.sampled_from(ids), unique=True))  # of the others nothing is known
    choices = {index: draw(st.lists(st.sampled_from(other[index]), min_size=1, max_size=3)) for index in known}
    sampler.confused = choices
    return sampler, counts


@given(confused_worlds())
def test_batches_of_confused_species_are_p_times_k_and_decided_by_seed_and_epoch(
    world: tuple[PKSampler, list[int]],
) -> None:
    sampler, counts = world
    batches = list(sampler)
    assert list(sampler) == batches
    assert len(batches) == len(sampler)
    for batch in batches:
        found = Counter(label_of(view, counts) for view in batch)
        assert len(found) == sampler.species
        assert set(found.values()) == {sampler.images}
        for label, group in enumerate(sampler.groups):
            shown = Counter(view.sample_id for view in batch if label_of(view, counts) == label)
            assert len(shown) in (0, min(len(group), sampler.images)), "no image twice where there are others"


def test_a_batch_holds_the_very_images_that_its_others_are_confused_with() -> None:
    """Species 2n and 2n + 1 are confused, each image with one of the other."""
    counts = [6] * 20
    sampler = batches_of(counts, 8, 3, hard_share=0.5)
    sampler.confused = {index: [1000 + ((index - 1000) // 6 ^ 1) * 6 + index % 6] for index in range(1000, 1120)}
    pairs = 0
    for batch in sampler:
        dealt, hard = ids_of(batch)[:12], ids_of(batch)[12:]
        brought = {sampler.confused[index][0] for index in dealt}
        species = {(index - 1000) // 6 for index in dealt}
        for place in range(0, 12, 3):
            if (hard[place] - 1000) // 6 ^ 1 in species:
                assert brought & set(hard[place : place + 3])
                pairs += 1
    by_chance = len(sampler) * 4 * 4 / 19  # four more species, four of the 19 others would be partners
    assert pairs > 2 * by_chance


def test_nearer_or_farther_any_that_is_confused_may_come() -> None:
    sampler = batches_of([8] * 10, 2, 2, hard_share=0.5)
    sampler.confused = {index: [1072, 1073, 1074] for index in range(1000, 1072)}
    drawn = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn |= {index for batch in sampler for index in ids_of(batch)[2:] if ids_of(batch)[0] < 1072}
    assert {1072, 1073, 1074} <= drawn


def test_one_species_of_a_batch_is_dealt_whatever_the_share() -> None:
    sampler = batches_of([4] * 6, 4, 2, hard_share=0.99)
    sampler.confused = {1000: [1004]}
    dealt = {ids_of(batch)[0] for epoch in range(30) for batch in [next(iter(_at(sampler, epoch)))]}
    assert len({(index - 1000) // 4 for index in dealt}) == 6


def _at(sampler: PKSampler, epoch: int) -> PKSampler:
    sampler.set_epoch(epoch)
    return sampler
