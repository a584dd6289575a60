"""Swappable parts: a `_target_` names what is built. Names and arguments are checked before anything is built."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from conspecific.config.allowed import check_name, locate
from conspecific.config.neighbours import unknown_argument
from conspecific.config.places import REFUSALS
from conspecific.config.signatures import written_arguments
from conspecific.errors import ConfigError, ConspecificError

TARGET, PARTIAL = "_target_", "_partial_"
MARKS = frozenset({TARGET, PARTIAL})  # keys of a node that are no arguments
ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
CORRECTIONS = "corrections"  # a key of every source of data, see `data.corrections`; no argument of a target
BESIDE: Mapping[str, Any] = {f"data.{CORRECTIONS}": str | None}
"""Keys that a place takes beside the arguments of its target, and their types."""
PLAIN = (bool, int, float, str, NoneType)


def build(node: Mapping[str, Any], key: str, allow: Sequence[str] = (), /, **arguments: Any) -> Any:
    """Build what a node's `_target_` names from its other keys and `arguments`; nodes inside it are built first.

    node: plain containers. With `_partial_: true` the result is a functools.partial. key: the node's place in the
    configuration, such as `loss`, which decides what `_target_` may name. allow: modules of the user's own that may be
    named as well. The names of the node and of all nodes inside it are checked before anything is imported.
    Raises ConfigError where a name is not allowed or a target refuses its arguments; other errors meant for users pass
    unchanged.
    """
    if TARGET not in node:
        raise ConfigError(f"{key} needs a _target_: the class or function that builds it")
    check_names(node, key, allow)
    return _build(node, key, allow, arguments)


def build_each(nodes: Mapping[str, Any], key: str, allow: Sequence[str] = ()) -> dict[str, Any]:
    """Build each node of a group that holds several, such as `callbacks`: name -> what was built."""
    return {name: build(node, f"{key}.{name}", allow) for name, node in nodes.items()}


def check_names(node: Any, key: str = "", allow: Sequence[str] = ()) -> None:
    """Check every `_target_` of a configuration, at any depth, against what its place may be. Imports nothing.

    Raises ConfigError naming the key and what may stand there.
    """
    for place, found in _nodes(node, key):
        check_name(found[TARGET], place, allow)


def check_arguments_as_written(node: Any, key: str = "") -> None:
    """Check names and plain types of arguments where the source of a target says which it takes. Imports nothing.

    Raises ConfigError as `check_targets` does.
    """
    for place, found in _nodes(node, key):
        if (known := written_arguments(found[TARGET])) is not None:
            for name, value in found.items():
                if not name.startswith("_"):
                    _check_argument(f"{place}.{name}", value, found[TARGET], known, _as_type(known.get(name, "")))


def check_targets(node: Any, key: str = "", allow: Sequence[str] = ()) -> None:
    """Check names as `check_names` does, then the arguments of every target against its signature: names and types.

    Raises ConfigError naming the key, the target, and the nearest arguments it takes.
    """
    check_names(node, key, allow)
    for place, found in _nodes(node, key):
        _check_arguments(found, place, allow)


def takes(node: Mapping[str, Any], key: str, name: str, allow: Sequence[str] = ()) -> bool:
    """Whether what a node's `_target_` names has an argument of that name; imported if its source does not say."""
    if TARGET in node and (known := written_arguments(node[TARGET])) is not None:
        return name in known
    return TARGET in node and name in _arguments(locate(node[TARGET], key, allow))[0]


def _build(node: Mapping[str, Any], key: str, allow: Sequence[str], arguments: Mapping[str, Any]) -> Any:
    target = locate(node[TARGET], key, allow)
    given = {name: _built(value, f"{key}.{name}", allow) for name, value in _given(node, key).items()} | {**arguments}
    if node.get(PARTIAL):
        return partial(target, **given)
    try:
        return target(**given)
    except ConspecificError:
        raise
    except Exception as error:  # whatever the target raises of its arguments
        if isinstance(error, OSError) and error.errno in REFUSALS:
            raise  # `places.writing` names the key of the folder
        reason = repr(error) if isinstance(error, LookupError) else error  # whose text is a key alone
        raise ConfigError(f"{node[TARGET]} could not be built: {reason}") from error


def _built(value: Any, key: str, allow: Sequence[str]) -> Any:
    """A value with the nodes inside it built."""
    if isinstance(value, list):
        return [_built(item, f"{key}[{number}]", allow) for number, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if TARGET in value:
        return _build(value, key, allow, {})
    return {name: _built(item, f"{key}.{name}", allow) for name, item in value.items()}


def _given(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The arguments of a node. Raises ConfigError for Hydra's other marks, which nothing here needs."""
    given = {name: value for name, value in node.items() if name not in MARKS}
    for name in ("_args_", "_convert_", "_recursive_"):
        if name in given:
            raise ConfigError(f"{key}.{name} cannot be set: give every argument by its name")
    return given


def _nodes(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_`, and its key."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _nodes(item, f"{key}[{number}]")
    if not isinstance(node, Mapping):
        return
    if TARGET in node:
        yield key, node
    for name, item in node.items():
        yield from _nodes(item, f"{key}.{name}" if key else str(name))


def _check_arguments(node: Mapping[str, Any], key: str, allow: Sequence[str]) -> None:
    target, shown = locate(node[TARGET], key, allow), node[TARGET]
    known, takes_any = _arguments(target)
    hints = _hints(target)
    for name, value in _given(node, key).items():
        _check_argument(f"{key}.{name}", value, shown, {*known, name} if takes_any else known, hints.get(name, Any))


def _check_argument(key: str, value: Any, shown: str, known: Iterable[str], hint: Any) -> None:
    hint = BESIDE.get(key, hint)
    if key not in BESIDE and key.rpartition(".")[2] not in known:
        raise ConfigError(unknown_argument(key, shown, known))
    if not _fits(value, hint):
        if value is None:
            raise ConfigError(f"{key} must be given, for example {key}=VALUE")
        raise ConfigError(f"{key}={value} is of another type than {shown} takes: {_names(hint)}")


def _arguments(target: Callable[..., Any]) -> tuple[set[str], bool]:
    """Names of the arguments, and whether any others are taken. A class that hands **kwargs up takes its bases' too."""
    makers = [target]
    if inspect.isclass(target):
        makers = [vars(owner)["__init__"] for owner in inspect.getmro(target) if "__init__" in vars(owner)]
    known: set[str] = set()
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        known |= {parameter.name for parameter in parameters if parameter.kind not in ANY_NUMBER}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return known - {"self"}, False
    return known, True


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # annotations that mean nothing outside the file they stand in
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a plain type; types that are not plain are left to the target."""
    allowed = _alternatives(hint)
    if any(option not in PLAIN for option in allowed):
        return True
    return type(value) in allowed or (type(value) is int and float in allowed)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _as_type(annotation: str) -> Any:
    """Return the type that an annotation such as `str | None` means; Any for one that is not of plain types.

    >>> _as_type("Optional[Union[int, float]]")
    int | float | None
    """
    if optional := re.fullmatch(r"Optional\[(.+)\]", annotation):
        annotation = f"{optional[1]} | None"
    annotation = re.sub(r"Union\[([\w, ]+)\]", lambda found: found[1].replace(", ", " | "), annotation)
    plain = {"None" if kind is NoneType else kind.__name__: kind for kind in PLAIN}
    found = [plain.get(name) for name in annotation.split(" | ")]
    return Any if None in found else reduce(or_, found)


def _names(hint: Any) -> str:
    return " or ".join("null" if option is NoneType else option.__name__ for option in _alternatives(hint))
