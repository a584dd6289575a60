"""Progressive resizing: training crops that grow from epoch to epoch (Howard 2018, Tan & Le 2021)."""

from conspecific.errors import ConfigError

STEP = 32  # pixels; backbones halve an image five times


def growing_sizes(first: int, last: int, epochs: int) -> list[int]:
    """Return the side of the training crops in each epoch, in pixels.

    The side grows from `first` to `last` in steps of 32 pixels; the last quarter of the epochs has the full side. Small
    crops train coarse features at low cost. Raises ConfigError where `first` is above `last`.

    >>> growing_sizes(96, 160, 8), growing_sizes(96, 160, 1)
    ([96, 96, 96, 128, 128, 128, 160, 160], [160])
    """
    if first > last:
        raise ConfigError(
            f"recipe.initial_size={first} is above loader.train_size={last}: crops grow, they do not shrink"
        )
    steps = -(-(last - first) // STEP)
    rising = 3 * epochs // 4 if steps else 0
    grown = [first + STEP * (steps * epoch // rising) for epoch in range(rising)]
    return grown + [last] * (epochs - rising)
