"""Swappable parts: a `_target_` names what is built, and its arguments are checked before anything is."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import hydra.utils
from hydra.errors import InstantiationException

from conspecific.config.neighbours import unknown_argument
from conspecific.errors import ConfigError, ConspecificError

MARKS = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_"})
PLAIN = (bool, int, float, str, NoneType)


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
    """Walk a configuration and hold each target's arguments against its signature: their names, and simple types.

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


def takes(node: Mapping[str, Any], name: str) -> bool:
    """Whether what a node's `_target_` names has an argument of that name."""
    return "_target_" in node and name in _arguments(_locate(node["_target_"], ""))[0]


def _check_arguments(node: dict[str, Any], key: str) -> None:
    target, shown = _locate(node["_target_"], key), node["_target_"]
    known, takes_any = _arguments(target)
    hints = _hints(target)
    for name, value in node.items():
        if name in MARKS:
            continue
        if name not in known and not takes_any:
            raise ConfigError(unknown_argument(f"{key}.{name}", shown, known))
        if not _fits(value, hints.get(name, Any)):
            if value is None:
                raise ConfigError(f"{key}.{name} must be given, for example {key}.{name}=VALUE")
            raise ConfigError(f"{key}.{name}={value} is of another type than {shown} takes: {_names(hints[name])}")


def _arguments(target: Callable[..., Any]) -> tuple[set[str], bool]:
    """Names of the arguments, and whether any others are taken. A class that hands **kwargs up takes its bases' too."""
    makers = [target]
    if inspect.isclass(target):
        makers = [vars(owner)["__init__"] for owner in inspect.getmro(target) if "__init__" in vars(owner)]
    known: set[str] = set()
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        known |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return known - {"self"}, False
    return known, True


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # annotations that mean nothing outside the file they stand in
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a plain type; anything else is for the target to judge."""
    allowed = _alternatives(hint)
    if not isinstance(value, PLAIN) or any(option not in PLAIN for option in allowed):
        return True
    return type(value) in allowed or (type(value) is int and float in allowed)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _names(hint: Any) -> str:
    return " or ".join("null" if option is NoneType else option.__name__ for option in _alternatives(hint))


def _locate(target: str, key: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}._target_={target} cannot be imported: {error}") from error
    if not callable(found):
        raise ConfigError(f"{key}._target_={target} is not something that can be called")
    return found
