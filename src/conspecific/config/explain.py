"""Hydra's errors in a sentence: what was written, what there is instead."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from conspecific.config.location import all_groups, groups, options
from conspecific.config.neighbours import elsewhere, neighbours, unknown_key
from conspecific.config.targets import takes
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
        return _not_there(found[1], overrides, tree)
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        return f"{found[1]} is several values: add -m to run each in turn, or quote it as one: {_quoted(found[1])}"
    if found := re.search(r"Multiple values for (\S+)\.", text):
        return f"{found[1]} has a place already: write {found[1]}=NAME, once and without a plus"
    if "Config group override must be a string" in text:
        chosen = next((given for given in overrides if given.partition("=")[0] in all_groups()), overrides[-1])
        return f"{chosen}: a group takes the name of one of its options; ~{chosen.partition('=')[0]} leaves it out"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    return f"{text} {cause}" if cause else text


def _not_there(key: str, overrides: Sequence[str], tree: Tree) -> str:
    """Compose without the overrides of that key, walk to where it should have been, and name what is there."""
    if "/" in key:
        return unknown_key(key, all_groups())
    others = [text for text in overrides if not text.lstrip("+~").startswith((f"{key}=", f"{key}."))]
    try:
        node: Any = tree(others)
    except ValueError:  # another override is wrong too; the plain configuration will do to look for neighbours
        node = tree([])
    above, _, name = key.rpartition(".")
    for part in above.split(".") if above else []:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return f"{key} cannot be set. {elsewhere(key) or f'{above} holds no keys.'}"
    if takes(node, above, name):
        return f"{key} is not set in this configuration, but can be: +{key}=VALUE"
    known = neighbours(key, [*map(str, node), *([] if above else groups())])
    return f"{key} is not a key of this configuration. {known}"


def _unreadable(given: str) -> str:
    if "=" not in given and not given.startswith("~"):
        return f"{given} is not KEY=VALUE"
    return f"{given} cannot be read. Put the value in quotes, and the whole for the shell: {_quoted(given)}"


def _quoted(given: str) -> str:
    key, _, value = given.partition("=")
    mark = '\\"' if "'" in value else "'"
    return f'"{key}={mark}{value}{mark}"'
