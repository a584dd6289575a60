"""What a misspelt key might have meant."""

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from conspecific.config.location import config_dir, groups, options
from conspecific.errors import did_you_mean


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that a key does not exist, and name its neighbours."""
    return f"{key} is not a key of this configuration. {neighbours(key, known)}"


def unknown_argument(key: str, target: str, known: Iterable[str]) -> str:
    """Say that what a part is built by does not take this argument, and name its neighbours."""
    return f"{key} is not an argument of {target}. {neighbours(key, known)}"


def neighbours(key: str, known: Iterable[str]) -> str:
    """Name the nearest of the keys that are known in its place, else the option that has it, else all of them."""
    names = [name for name in known if not name.startswith("_")]
    if not names:
        return elsewhere(key) or f"Nothing can be set below {key.rpartition('.')[0]}."
    near = did_you_mean(key.rpartition(".")[2], names)
    return near if near.startswith("Did") else elsewhere(key) or near


def elsewhere(key: str) -> str | None:
    """Name the options of a group that do have the key: data.root belongs to data=folder.

    >>> elsewhere("data.path")
    'It belongs to data=manifest.'
    """
    group, _, name = key.partition(".")
    having = [option for option in options(group) if name in _keys(group, option)] if group in groups() else []
    return f"It belongs to {' or '.join(f'{group}={option}' for option in having)}." if having else None


def _keys(group: str, option: str) -> list[str]:
    config = OmegaConf.load(config_dir() / group / f"{option}.yaml")
    assert isinstance(config, DictConfig), "an option is a mapping"
    return [str(name) for name in config.keys()]  # noqa: SIM118  a DictConfig's `in` leaves out values that are missing
