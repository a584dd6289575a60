"""The search space of a sweep: from several values in Hydra's grammar to Optuna's distributions."""

from collections.abc import Iterable

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from conspecific.errors import ConfigError


def search_space(overrides: Iterable[Override]) -> tuple[list[str], dict[str, BaseDistribution]]:
    """Divide overrides into those of every trial, KEY=VALUE, and those that are searched, key -> distribution.

    A later override of a key replaces an earlier one. `interval(a, b)` is a float from a to b, and
    `int(interval(a, b))` an integer, each on a log scale inside `tag(log, ...)`. `range(a, b)` is an integer from a to
    b - 1, as in Hydra. `choice(a, b)` and `a,b` are categories. Raises ConfigError where nothing is to be searched.
    """
    fixed: dict[str, str] = {}
    space: dict[str, BaseDistribution] = {}
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        space.pop(key, None)
        if override.is_sweep_override():
            space[key] = _distribution(key, override)
        else:
            fixed[key] = key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
    if not space:
        raise ConfigError(
            "a sweep needs settings to search: hydra.sweeper.params of an experiment, or 'KEY=interval(FROM,TO)'"
        )
    return list(fixed.values()), space


def _distribution(key: str, override: Override) -> BaseDistribution:
    found = override.value()
    try:
        if isinstance(found, IntervalSweep):
            assert found.start is not None and found.end is not None, "the grammar gives an interval both ends"
            kind = IntDistribution if isinstance(found.start, int) else FloatDistribution
            return kind(found.start, found.end, log="log" in found.tags)  # type: ignore[arg-type]
        if isinstance(found, RangeSweep) and isinstance(values := found.range(), range):
            return IntDistribution(values[0], values[-1], step=values.step)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{override.input_line}: no values of {key} can be drawn from it: {error}") from error
