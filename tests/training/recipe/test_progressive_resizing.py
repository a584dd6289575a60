"""Progressive resizing: the side of the training crops in each epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.errors import ConfigError
from conspecific.training.recipe.progressive_resizing import growing_sizes


@given(st.integers(32, 300), st.integers(0, 300), st.integers(1, 40))
def test_crops_grow_step_by_step_and_end_at_their_full_side(first: int, more: int, epochs: int) -> None:
    sizes = np.array(growing_sizes(first, first + more, epochs))
    assert len(sizes) == epochs
    assert sizes[-1] == first + more, "however few epochs: evaluation is larger still"
    assert (np.diff(sizes) >= 0).all()
    assert ((sizes[:-1] - first) % 32 == 0)[sizes[:-1] < first + more].all()
    if epochs > 1:
        assert sizes[0] == first
    if epochs >= 4 and more:
        assert (sizes == first + more).mean() == pytest.approx(0.25, abs=1 / epochs)


@pytest.mark.parametrize(
    ("first", "last", "epochs", "sizes"),
    [
        (96, 160, 8, [96, 96, 96, 128, 128, 128, 160, 160]),
        (96, 100, 4, [96, 96, 96, 100]),
        (96, 160, 2, [96, 160]),
        (96, 160, 1, [160]),
        (160, 160, 3, [160, 160, 160]),
    ],
)
def test_sizes_by_hand(first: int, last: int, epochs: int, sizes: list[int]) -> None:
    assert list(growing_sizes(first, last, epochs)) == sizes


def test_crops_that_would_shrink_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.initial_size=192 is above loader\.train_size=160: crops grow"):
        growing_sizes(192, 160, 4)
