"""The choice among candidates once training is over."""

import numpy as np
import polars as pl
import pytest

from conspecific.training.selection import within_noise
from conspecific.types import EvalResult


def result(values: np.ndarray, protocol: str = "seen", species: int = 10) -> EvalResult:
    """A result with these map@r of its queries, whose species take turns."""
    labels = [str(number % species) for number in range(len(values))]
    table = pl.DataFrame({"path": [f"{number:03}" for number in range(len(values))], "label": labels, "map@r": values})
    metrics = {"map@r": float(values.mean())}
    return EvalResult(metrics, metrics, table, {"protocol": protocol})


def test_the_nearest_to_the_start_within_one_standard_error_of_the_best_is_kept() -> None:
    rng = np.random.default_rng(0)
    start, noise = rng.uniform(0.3, 0.6, 100), rng.normal(0, 0.1, 100)
    noise -= noise.mean()  # its standard error is 0.01
    ahead = [result(start), result(start + 0.02 + noise), result(start + 0.025 + noise), result(start + 0.01)]
    assert within_noise(ahead, "map@r") == 2, "the second is a constant 0.005 behind, with no noise between them"
    barely = [result(start), result(start + 0.009 + noise), result(start - 0.1)]
    assert within_noise(barely, "map@r") == 0, "0.009 is less than the standard error of 0.01"
    assert within_noise([result(start), result(start + 0.011 + noise)], "map@r") == 1
    assert within_noise([result(start + 0.1), result(start)], "map@r") == 0


@pytest.mark.parametrize(("protocol", "kept"), [("seen", 1), ("unseen", 0)])
def test_species_that_are_new_count_as_wholes(protocol: str, kept: int) -> None:
    """Two of ten species gain 0.1 in all of their ten queries each: many queries, but few species."""
    start = np.full(100, 0.5)
    gain = np.where(np.arange(100) % 10 < 2, 0.1, 0.0) - np.where(np.arange(100) % 10 == 9, 0.12, 0)
    assert within_noise([result(start, protocol), result(start + gain, protocol)], "map@r") == kept


def test_with_one_species_nothing_can_be_told_and_the_start_is_kept() -> None:
    better = np.full(20, 0.9)
    assert within_noise([result(better - 0.4, "unseen", 1), result(better, "unseen", 1)], "map@r") == 0
    assert within_noise([result(better - 0.4, "seen", 1), result(better, "seen", 1)], "map@r") == 1
