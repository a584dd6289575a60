"""Averaged weights: the mean is the mean, and greedy keeps what does not harm."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conspecific.errors import RunError
from conspecific.runs.soup import average_weights, greedy_soup


def weights(value: float, count: int = 3) -> dict[str, Tensor]:
    return {"layer": torch.full((2, 3), value), "half": torch.full((4,), value).half(), "seen": torch.tensor(count)}


def test_the_mean_of_every_tensor_in_its_own_type() -> None:
    soup = average_weights([weights(1.0, 7), weights(2.0), weights(6.0)])
    assert torch.equal(soup["layer"], torch.full((2, 3), 3.0))
    assert soup["half"].dtype == torch.float16 and torch.equal(soup["half"], torch.full((4,), 3.0).half())
    assert soup["seen"] == 7 and soup["seen"].dtype == torch.int64


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.01, 10)), min_size=1, max_size=5))
def test_shares_weigh_the_ingredients(subsets: list[tuple[float, float]]) -> None:
    values, shares = zip(*subsets, strict=True)
    soup = average_weights((weights(value) for value in values), shares)
    expected = sum(value * share for value, share in subsets) / sum(shares)
    assert soup["layer"].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_one_ingredient_is_itself() -> None:
    alone = {"layer": torch.randn(5, 5), "seen": torch.tensor(2)}
    assert all(torch.equal(tensor, alone[name]) for name, tensor in average_weights([alone]).items())


@pytest.mark.parametrize("shares", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, 1.0, 1.0]])
def test_shares_that_do_not_fit_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="share"):
        average_weights([weights(1.0), weights(2.0)], shares)


def test_weights_of_different_models_are_refused() -> None:
    with pytest.raises(RunError, match="1 tensors do not fit, first head"):
        average_weights([weights(1.0), {**weights(1.0), "head": torch.zeros(2)}])
    with pytest.raises(RunError, match="1 tensors do not fit, first layer"):
        average_weights([weights(1.0), {**weights(1.0), "layer": torch.zeros(3, 3)}])


def nearness_to_two(found: Mapping[str, Tensor]) -> float:
    return -abs(float(found["layer"].mean()) - 2)


def test_greedy_keeps_what_does_not_lower_the_score() -> None:
    soup, steps = greedy_soup([weights(1.5), weights(9.0), weights(2.5), weights(2.0)], nearness_to_two)
    assert [step.kept for step in steps] == [True, False, True, True]
    assert [step.score for step in steps] == pytest.approx([-0.5, -3.25, 0.0, 0.0])
    assert float(soup["layer"].mean()) == pytest.approx(2.0)


@given(st.lists(st.floats(0, 4), min_size=1, max_size=6))
def test_a_greedy_soup_is_never_worse_than_its_first_ingredient(values: list[float]) -> None:
    values.sort(key=lambda value: abs(value - 2))
    soup, steps = greedy_soup([weights(value) for value in values], nearness_to_two)
    kept = [value for value, step in zip(values, steps, strict=True) if step.kept]
    assert nearness_to_two(soup) >= nearness_to_two(weights(values[0])) - 1e-6
    assert float(soup["layer"].mean()) == pytest.approx(sum(kept) / len(kept), abs=1e-5)


def test_a_soup_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one ingredient"):
        greedy_soup([], nearness_to_two)
    with pytest.raises(ValueError, match="found 0"):
        average_weights([])
