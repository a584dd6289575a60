"""The choice among candidates once training is over."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from conspecific.runs.record import SelectedWeights
from conspecific.training.selection import preferred, within_noise
from conspecific.types import EvalResult


def result(values: np.ndarray, protocol: str = "seen", species: int = 10) -> EvalResult:
    """A result with these map@r of its queries, whose species take turns."""
    labels = [str(number % species) for number in range(len(values))]
    table = pl.DataFrame({"path": [f"{number:03}" for number in range(len(values))], "label": labels, "map@r": values})
    metrics = {"map@r": float(values.mean())}
    return EvalResult(metrics, metrics, table, {"protocol": protocol})


BEFORE = [SelectedWeights(0, pooled_reference=True), SelectedWeights(0, whitening_strength=0.0), SelectedWeights(0)]
MADE = SelectedWeights(20, 0.85)


def kept(values: Sequence[np.ndarray], protocol: str = "seen", species: int = 10) -> SelectedWeights:
    """Return what is kept of the pooled reference, two heads and, last, what training made, by their map@r."""
    results = dict(zip([*BEFORE, MADE], [result(each, protocol, species) for each in values], strict=True))
    return preferred(BEFORE, [MADE], results, "map@r")


RNG = np.random.default_rng(0)
START, NOISE = RNG.uniform(0.3, 0.6, 100), RNG.normal(0, 0.1, 100)
NOISE -= NOISE.mean()  # its standard error is 0.01


def test_what_training_made_is_kept_where_it_may_be_the_best_and_a_gain_is_expected() -> None:
    assert kept([START, START, START + 0.009 + NOISE, START]) == MADE, "it is behind by less than the standard error"
    assert kept([START, START, START, START]) == MADE, "nothing is better"
    assert kept([START, START - 0.1, START - 0.1, START - 0.001]) == BEFORE[0], "it is surely worse than the start"
    below = START - 0.1
    assert kept([START, below, below, START - 0.003 + NOISE]) == MADE, "0.003 is less than 0.01 ** 2 / 0.03"
    assert kept([START, below, below, START - 0.004 + NOISE]) == BEFORE[0]
    assert kept([START, START, START + 0.011 + NOISE, START]) == BEFORE[2], "it is behind by more"


def test_else_the_nearest_to_the_start_within_one_standard_error_of_the_best_is_kept() -> None:
    low = START - 0.2
    assert kept([START, START + 0.02 + NOISE, START + 0.025 + NOISE, low]) == BEFORE[2]
    assert kept([START, START + 0.009 + NOISE, START - 0.1, low]) == BEFORE[0]
    assert kept([START, START + 0.011 + NOISE, START, low]) == BEFORE[1]
    results = {each: result(START) for each in BEFORE}
    assert preferred(BEFORE, [], results, "map@r") == BEFORE[0], "nothing was trained"


@pytest.mark.parametrize(("protocol", "is_noise"), [("seen", False), ("unseen", True)])
def test_species_that_are_new_count_as_wholes(protocol: str, is_noise: bool) -> None:
    """Two of ten species gain 0.1 in all of their ten queries each: many queries, but few species."""
    start = np.full(100, 0.5)
    gain = np.where(np.arange(100) % 10 < 2, 0.1, 0.0) - np.where(np.arange(100) % 10 == 9, 0.12, 0)
    assert within_noise(result(start, protocol), [result(start + gain, protocol)], "map@r") == is_noise


def test_with_one_species_nothing_can_be_told() -> None:
    better = np.full(20, 0.9)
    assert within_noise(result(better - 0.4, "unseen", 1), [result(better, "unseen", 1)], "map@r")
    assert not within_noise(result(better - 0.4, "seen", 1), [result(better, "seen", 1)], "map@r")
