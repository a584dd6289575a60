"""Batches whose species are drawn by the number of their images, raised to a power."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.data.balanced_sampler import EXPONENTS, BalancedSampler, drawn_by_share, species_shares
from conspecific.data.sampler import expected_undrawn
from conspecific.errors import DataError

UNEQUAL = [1000, 100, 10, 1, 1, 1]
worlds = st.tuples(
    st.lists(st.integers(1, 40), min_size=2, max_size=15),
    st.integers(1, 70),
    st.sampled_from([*EXPONENTS.values(), 0.25]),
    st.integers(0, 9),
)


def sampler_of(counts: list[int], size: int, exponent: float, seed: int = 0) -> BalancedSampler:
    """Sample ids are 1000 and up, so that they are not mistaken for rows."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return BalancedSampler(np.arange(1000, 1000 + labels.size), labels, size, exponent, seed, [32, 64])


def drawn(sampler: BalancedSampler, epochs: int) -> list[Counter[int]]:
    """How often each image is drawn in each epoch."""
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        found.append(Counter(view.sample_id for batch in sampler for view in batch))
    return found


def by_species(draws: Counter[int], counts: list[int]) -> list[int]:
    ends = np.cumsum([0, *counts]) + 1000
    return [sum(draws[index] for index in range(start, end)) for start, end in pairwise(ends)]


@pytest.mark.parametrize(
    ("exponent", "wanted"),
    [
        (1.0, [1000, 100, 10, 1, 1, 1]),  # of 1113 draws
        (0.0, [185.5] * 6),
        (0.5, [1113 * root / 47.7851 for root in (31.6228, 10, 3.1623, 1, 1, 1)]),
    ],
)
def test_species_are_drawn_as_their_shares_say(exponent: float, wanted: list[float]) -> None:
    sampler = sampler_of(UNEQUAL, 7, exponent)  # 159 batches of 7: 1113 draws
    found = np.array([by_species(draws, UNEQUAL) for draws in drawn(sampler, 60)])
    assert (found.sum(axis=1) == 1113).all()
    assert (np.abs(found - wanted) < 1 + 1e-3).all(), "rounded up or down in each epoch"
    np.testing.assert_allclose(found.mean(axis=0), wanted, atol=0.25)
    np.testing.assert_allclose(species_shares(np.array(UNEQUAL), exponent), np.array(wanted) / 1113, rtol=1e-4)


@given(worlds)
def test_images_of_a_species_come_up_equally_often(world: tuple[list[int], int, float, int]) -> None:
    counts, size, exponent, seed = world
    [draws] = drawn(sampler_of(counts, size, exponent, seed), 1)
    first = 1000
    for count in counts:
        times = [draws[index] for index in range(first, first + count)]
        assert max(times) - min(times) <= 1
        first += count


@given(worlds)
def test_batches_are_full_and_decided_by_seed_and_epoch(world: tuple[list[int], int, float, int]) -> None:
    counts, size = world[0], min(world[1], sum(world[0]))
    first, again = sampler_of(*world), sampler_of(*world)
    first.set_epoch(1)
    batches = list(first)
    assert len(batches) == len(first) == max(1, round(sum(counts) / size))
    assert {len(batch) for batch in batches} == {size} and {view.size for batch in batches for view in batch} == {64}
    list(again)  # an epoch before it changes nothing, as in a run that was not interrupted
    again.set_epoch(1)
    assert list(again) == batches == list(first)


def test_seeds_and_epochs_differ_and_batches_mix_species() -> None:
    sampler = sampler_of([50, 50], 20, 1.0)
    batches = list(sampler)
    assert all(len({view.sample_id < 1050 for view in batch}) == 2 for batch in batches)
    assert batches != list(sampler_of([50, 50], 20, 1.0, seed=1))
    sampler.set_epoch(1)
    assert batches != list(sampler)


def test_each_image_once_where_every_image_counts_the_same() -> None:
    [draws] = drawn(sampler_of([30, 8, 2], 8, 1.0), 1)
    assert set(draws.values()) == {1} and len(draws) == 40


def test_rare_species_are_not_drawn_in_turns() -> None:
    """With a share of half a draw an epoch, any two species meet in some epoch and part in another."""
    counts = [1] * 6 + [1000]
    sampler = sampler_of(counts, 1006, 0.5)
    assert sampler.draws[0] > 1
    sampler.draws = np.array([0.5] * 6 + [1003.0])
    found = [{index for index in draws if index < 1006} for draws in drawn(sampler, 60)]
    together = {(a, b) for draws in found for a in draws for b in draws if a < b}
    assert len(together) == 15 and {len(draws) for draws in found} == {3}


@pytest.mark.parametrize("exponent", EXPONENTS.values())
def test_undrawn_images_are_estimated_as_they_turn_out(exponent: float) -> None:
    counts, epochs = [300, 60, 8, 2], 2
    draws = drawn(sampler_of(counts, 16, exponent), epochs)
    seen = Counter({index: 1 for epoch in draws for index in epoch})
    found = np.array(counts) - by_species(seen, counts)
    shares = drawn_by_share(np.array(counts), 16, exponent)
    np.testing.assert_allclose(expected_undrawn(np.array(counts), shares, epochs), found, atol=8)
    assert (found.sum() > 10) == (exponent < 1)


@pytest.mark.parametrize(("counts", "size"), [([9], 4), ([9, 9], 0)])
def test_one_species_or_empty_batches_are_refused(counts: list[int], size: int) -> None:
    with pytest.raises(DataError, match=f"found {len(counts)} species in train, and .* is {size}"):
        sampler_of(counts, size, 0.0)
