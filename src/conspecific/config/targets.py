"""Swappable parts: a `_target_` names what is built, and its arguments are checked before anything is."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from conspecific.errors import ConfigError, ConspecificError, did_you_mean

MARKS = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_"})


def build(node: Mapping[str, Any], **arguments: Any) -> Any:
    """Build what a node's `_target_` names from its other keys and `arguments`, plain containers throughout.

    Raises ConfigError when the target refuses them; errors meant for users pass as they are.
    """
    try:
        return hydra.utils.instantiate({**node, "_convert_": "all"}, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, ConspecificError):
            raise error.__cause__ from None
        cause = error.__cause__ or error
        raise ConfigError(f"{node['_target_']} could not be built: {cause}") from error


def check_targets(node: Any, key: str = "") -> None:
    """Walk a configuration and bind each target's arguments against its signature.

    Raises ConfigError naming the key, what the target is, and the nearest arguments it does take.
    """
    if isinstance(node, list):
        for number, item in enumerate(node):
            check_targets(item, f"{key}[{number}]")
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        _check_arguments(node, key)
    for name, item in node.items():
        check_targets(item, f"{key}.{name}" if key else str(name))


def _check_arguments(node: dict[str, Any], key: str) -> None:
    target = node["_target_"]
    parameters = inspect.signature(_locate(target, key)).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    for name in node:
        if name not in known and name not in MARKS:
            raise ConfigError(f"{key}.{name} is not an argument of {target}. {did_you_mean(name, known)}")


def _locate(target: str, key: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = hydra.utils.get_object(target)
    except Exception as error:
        raise ConfigError(f"{key}._target_={target} cannot be imported: {error}") from error
    if not callable(found):
        raise ConfigError(f"{key}._target_={target} is not something that can be called")
    return found
