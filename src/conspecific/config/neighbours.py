"""What a misspelt key might have meant."""

import difflib
from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from conspecific.config.location import config_dir, groups, options
from conspecific.config.renamed import renamed_key


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that a key does not exist, and name its neighbours or its new name."""
    return renamed_key(key) or f"{key} is not a key of this configuration. {neighbours(key, known)}"


def unknown_argument(key: str, target: str, known: Iterable[str]) -> str:
    """Say that what builds a part does not take this argument, and name its neighbours or its new name."""
    return renamed_key(key) or f"{key} is not an argument of {target}. {neighbours(key, known)}"


def neighbours(key: str, known: Iterable[str]) -> str:
    """Name the nearest of the keys that its place has, else the option that has it, else all that its place has."""
    parent = key.rpartition(".")[0]
    names = [f"{parent}.{name}" if parent else name for name in known if not name.startswith("_")]
    if found := nearest(key, names):
        return found
    listed = f"Known here: {', '.join(sorted(names))}." if names else f"Nothing can be set below {parent}."
    return elsewhere(key) or listed


def nearest(key: str, names: Iterable[str]) -> str | None:
    """Ask whether one of the nearest full names was meant; None where none is near. Only the last parts are compared.

    >>> nearest("data.rot", ["data.root", "data.path"])
    'Did you mean data.root?'
    """
    last = {name.rpartition(".")[2]: name for name in names}
    near = difflib.get_close_matches(key.rpartition(".")[2], last, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(last[name] for name in near)}?" if near else None


def elsewhere(key: str) -> str | None:
    """Name the options of a group that do have the key, or one like it: data.root belongs to data=folder.

    >>> elsewhere("data.path")
    'It belongs to data=coco or data=manifest or data=megadetector.'
    >>> elsewhere("data.image_colum")
    'Did you mean data.image_column? It belongs to data=manifest or data=megadetector.'
    >>> elsewhere("data.root")
    'It belongs to data=folder or data=images or data=cars196 and 10 more.'
    """
    group, _, name = key.partition(".")
    if group not in groups() or not name or "." in name:
        return None
    keys = {option: _keys(group, option) for option in options(group)}
    near = difflib.get_close_matches(name, sorted({each for having in keys.values() for each in having}), n=1)
    if not near:
        return None
    owners = sorted(
        (option for option in keys if near[0] in keys[option]), key=lambda option: not keys[option][near[0]]
    )
    more = f" and {len(owners) - 3} more" if len(owners) > 3 else ""
    having = " or ".join(f"{group}={option}" for option in owners[:3]) + more
    return ("" if near[0] == name else f"Did you mean {group}.{near[0]}? ") + f"It belongs to {having}."


def _keys(group: str, option: str) -> dict[str, bool]:
    """Return the keys of an option, and whether they must be given."""
    config = OmegaConf.load(config_dir() / group / f"{option}.yaml")
    assert isinstance(config, DictConfig), "an option is a mapping"
    names = map(str, config.keys())  # which a DictConfig's own iteration leaves out where values are missing
    return {name: OmegaConf.is_missing(config, name) for name in names if not name.startswith("_")}
