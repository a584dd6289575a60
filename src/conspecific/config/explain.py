"""Hydra's errors in a sentence: what was written, what there is instead."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from conspecific.config.location import all_groups, groups, options
from conspecific.config.neighbours import elsewhere, nearest, neighbours, unknown_key
from conspecific.config.renamed import renamed_key, renamed_option
from conspecific.config.signatures import written_arguments
from conspecific.config.targets import TARGET, takes
from conspecific.errors import did_you_mean

Tree = Callable[[Sequence[str]], dict[str, Any]]


def explain(error: Exception, overrides: Sequence[str], tree: Tree) -> str:
    """Say why a composition failed.

    tree: composes with the overrides it is given and returns plain containers; neighbours are looked for in it.
    """
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if told := renamed_option(group, option):
            return told
        return f"{group}={option} does not exist. {did_you_mean(option, error.options or options(group))}"
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if found := re.search(r"Could not override '([^']+)'", text):
        return _not_there(found[1], overrides, tree)
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        return f"{found[1]} is several values: add -m to run each in turn, or quote it as one: {_quoted(found[1])}"
    if found := re.search(r"Multiple values for (\S+)\.", text):
        return f"{found[1]} is set already: write {found[1]}=NAME, once and without a plus"
    if "Config group override must be a string" in text:
        chosen = next((given for given in overrides if given.partition("=")[0] in all_groups()), overrides[-1])
        return f"{chosen}: a group takes the name of one of its options; ~{chosen.partition('=')[0]} leaves it out"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    return f"{text} {cause}" if cause else text


def _not_there(key: str, overrides: Sequence[str], tree: Tree) -> str:
    """Compose without the overrides of that key, go to its parent, and name the keys that are there.

    A key that is near is named before the target's signature is read, because that imports the target.
    """
    if told := renamed_key(key):
        return told
    if "/" in key:
        return unknown_key(key, all_groups())
    others = [text for text in overrides if not text.lstrip("+~").startswith((f"{key}=", f"{key}."))]
    try:
        node: Any = tree(others)
    except ValueError:  # another override is wrong too; neighbours can be looked for in the plain configuration
        node = tree([])
    above, _, name = key.rpartition(".")
    for part in above.split(".") if above else []:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return f"{key} cannot be set. {elsewhere(key) or f'{above} holds no keys.'}"
    known = [*map(str, node), *([] if above else groups())]
    near = nearest(key, [f"{above}.{each}" if above else each for each in known])
    if not near and takes(node, above, name):
        return f"{key} is not set in this configuration, but can be: +{key}=VALUE"
    if TARGET in node and all(each.startswith("_") for each in known):
        known = sorted(written_arguments(node[TARGET]) or ())
    return f"{key} is not a key of this configuration. {near or _deeper(name, node, above) or neighbours(key, known)}"


def _deeper(name: str, node: dict[str, Any], above: str) -> str | None:
    """Name the keys below a node that are called so."""
    found = [key for key in _paths(node, above) if key.rpartition(".")[2] == name]
    return f"Did you mean {' or '.join(found[:3])}?" if found else None


def _paths(node: dict[str, Any], above: str) -> Iterator[str]:
    for name, value in node.items():
        key = f"{above}.{name}" if above else str(name)
        yield key
        if isinstance(value, dict):
            yield from _paths(value, key)


def _unreadable(given: str) -> str:
    if "=" not in given and not given.startswith("~"):
        return f"{given} is not KEY=VALUE"
    return f"{given} cannot be read. Put the value in quotes, and the whole for the shell: {_quoted(given)}"


def _quoted(given: str) -> str:
    key, _, value = given.partition("=")
    mark = '\\"' if "'" in value else "'"
    return f'"{key}={mark}{value}{mark}"'
