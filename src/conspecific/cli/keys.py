"""The keys of a command: name, type, default and meaning, read from its schema. Nothing heavy is imported."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from conspecific.config.choices import OF_ENCODE, REFINEMENTS, RUN_LEVEL
from conspecific.config.location import config_dir

CHOICES = {
    **RUN_LEVEL,
    **{f"encode.{name}": names for name, names in OF_ENCODE.items()},
    "refine.method": REFINEMENTS,
}


@dataclass(frozen=True)
class Key:
    """One key. section: the part before the dot, empty for a key of the command itself. values: those that it takes,
    where they are a few names; `true` and `false` for a switch."""

    name: str
    section: str
    kind: str
    default: str
    meaning: str
    values: tuple[str, ...] = ()


def keys_of(schema: type[Any], section: str = "") -> Iterator[Key]:
    """Every key of a schema and of its sections. Groups of options, whose keys are in YAML files, have none."""
    hints, meanings, defaults = get_type_hints(schema), _meanings(schema), _composed(section)
    for field in fields(schema):
        hint, name = hints[field.name], f"{section}.{field.name}".lstrip(".")
        parts = (hint, *get_args(hint))
        inner = next((part for part in parts if is_dataclass(part)), None)
        if isinstance(inner, type):
            yield from keys_of(inner, name)
        elif not any(get_origin(part) is dict for part in parts):
            values = CHOICES.get(name, ("true", "false") if bool in parts else ())
            default = _shown(defaults[field.name] if field.name in defaults else _default(field))
            yield Key(name, section, _kind(name, hint), default, meanings.get(field.name, ""), values)


def about(schema: type[Any], section: str) -> str:
    """The first sentence about a section: what its keys have in common."""
    hint = get_type_hints(schema)[section]
    inner = next(part for part in (hint, *get_args(hint)) if is_dataclass(part))
    text = " ".join((inner.__doc__ or "").split())
    return "" if re.match(r"\w+: ", text) else re.split(r"(?<=\w)[.;:] ", text)[0].rstrip(".")


def _meanings(schema: type[Any]) -> dict[str, str]:
    """What the docstrings of a schema and its bases say of each key: `name: meaning.`, or `name, name: meaning.`"""
    found: dict[str, str] = {}
    names = {field.name for field in fields(schema)}
    for owner in reversed(schema.__mro__[:-1]):
        text = " ".join((owner.__doc__ or "").split())
        parts = re.split(r"(?:^|(?<=\. ))((?:\w+, )*\w+): ", text)
        for heads, meaning in zip(parts[1::2], parts[2::2], strict=True):
            said = re.sub(r" Raises .*", "", meaning.strip())
            found |= {name: said for name in heads.split(", ") if name in names}
    return found


def _kind(key: str, hint: Any) -> str:
    if key in CHOICES:
        return " | ".join(CHOICES[key])
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_kind(key, option) for option in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {_kind(key, get_args(hint)[0])}"
    return "null" if hint is NoneType else str(hint.__name__)


def _composed(section: str) -> Mapping[str, Any]:
    """The values that `recipe=default` sets: the schema of a recipe has those of the neutral one."""
    if section != "recipe":
        return {}
    from conspecific.config.yaml_file import read_yaml

    found: Mapping[str, Any] = read_yaml(config_dir() / "recipe" / "default.yaml")
    return found


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _shown(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
