"""Hydra's and OmegaConf's errors in a sentence: what was written, what there is instead."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conspecific.config.location import all_groups, config_dir, groups, options
from conspecific.errors import did_you_mean

Tree = Callable[[Sequence[str]], dict[str, Any]]


def explain(error: Exception, overrides: Sequence[str], tree: Tree) -> str:
    """Say what a composition failed of.

    tree: composes with the overrides it is given and returns plain containers; it serves to look for neighbours.
    """
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option} is not there. {did_you_mean(option, error.options or options(group))}"
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if found := re.search(r"Could not override '([^']+)'", text):
        return f"{found[1]} is not a key of this configuration. {_neighbours(found[1], overrides, tree)}"
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        return f"{found[1]} is several values: add -m to run each in turn, or quote it as one: {_quoted(found[1])}"
    if found := re.search(r"Multiple values for (\S+)\.", text):
        return f"{found[1]} has a place already: write {found[1]}=NAME, once and without a plus"
    if "Config group override must be a string" in text:
        chosen = next((given for given in overrides if given.partition("=")[0] in all_groups()), overrides[-1])
        return f"{chosen} cannot be: a group takes the name of one of its options. ~{chosen.partition('=')[0]} drops it."
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    return f"{text} {cause}" if cause else text


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that a key does not exist, and name its neighbours or the option that has it."""
    return f"{key} is not a key of this configuration. {_known(key, known)}"


def unknown_argument(key: str, target: str, known: Iterable[str]) -> str:
    """Say that what a part is built by does not take this argument, and name its neighbours."""
    return f"{key} is not an argument of {target}. {_known(key, known)}"


def _neighbours(key: str, overrides: Sequence[str], tree: Tree) -> str:
    """Compose without the overrides of that key, walk to where it should have been, and name what is there."""
    if "/" in key:
        return did_you_mean(key, all_groups())
    others = [text for text in overrides if not text.lstrip("+~").startswith((f"{key}=", f"{key}."))]
    try:
        node: Any = tree(others)
    except ValueError:  # another override is wrong too; the plain configuration will do to look for neighbours
        node = tree([])
    for part in key.split("."):
        if not isinstance(node, dict):
            return _elsewhere(key) or f"Nothing lies below {key.rpartition('.')[0]}."
        if part not in node:
            known = map(str, node)
            return _known(key, known if "." in key else [*known, *groups()])
        node = node[part]
    return "It is there already in another form."


def _known(key: str, known: Iterable[str]) -> str:
    near = did_you_mean(key.rpartition(".")[2], [name for name in known if not name.startswith("_")])
    return near if near.startswith("Did") else _elsewhere(key) or near


def _elsewhere(key: str) -> str | None:
    """Name the options of a group that do have the key: data.root belongs to data=folder."""
    group, _, name = key.partition(".")
    if group not in groups() or not name:
        return None
    having = [option for option in options(group) if name in OmegaConf.load(config_dir() / group / f"{option}.yaml")]
    return f"It belongs to {' or '.join(f'{group}={option}' for option in having)}." if having else None


def _unreadable(given: str) -> str:
    if "=" not in given and not given.startswith("~"):
        return f"{given} is not KEY=VALUE"
    return f"{given} cannot be read. Put the value in quotes, and the whole for the shell: {_quoted(given)}"


def _quoted(given: str) -> str:
    key, _, value = given.partition("=")
    mark = '\\"' if "'" in value else "'"
    return f'"{key}={mark}{value}{mark}"'
