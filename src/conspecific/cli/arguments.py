"""From the words of a command line to a typed configuration."""

from collections.abc import Sequence
from typing import TypeVar

from conspecific.config.compose import compose_config, typed
from conspecific.config.overrides import is_override, override
from conspecific.errors import ConfigError

Config = TypeVar("Config")


def read_config(name: str, schema: type[Config], arguments: Sequence[str], places: Sequence[str]) -> Config:
    """Compose a command's configuration; words that are not KEY=VALUE fill `places` in order, as in `evaluate RUN`."""
    words = [text for text in arguments if not is_override(text)]
    if len(words) > len(places):
        raise ConfigError(f"{name} takes {' '.join(places).upper()} and KEY=VALUE; found also: {words[len(places)]}")
    placed = [override(place, word) for place, word in zip(places, words, strict=False)]
    return typed(compose_config(name, [*placed, *filter(is_override, arguments)]), schema)
