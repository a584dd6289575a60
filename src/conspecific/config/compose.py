"""From YAML and overrides to a typed configuration."""

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conspecific.config.choices import check_choices
from conspecific.config.explain import explain
from conspecific.config.location import config_dir, groups
from conspecific.config.neighbours import unknown_key
from conspecific.config.overrides import literal
from conspecific.config.places import make_absolute
from conspecific.config.targets import check_arguments_as_written, check_names, check_targets
from conspecific.config.yaml_file import read_yaml
from conspecific.errors import ConfigError
from conspecific.files import write_whole

Schema = TypeVar("Schema")


def compose_config(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose `configs/NAME.yaml` with overrides, as the command of that name does.

    Raises ConfigError for a key or an option that does not exist, naming its neighbours.
    """
    GlobalHydra.instance().clear()
    plain = _plain_keys(name)
    if name != "train":  # its own configuration has the key
        overrides = [f"++{text}" if text.startswith("data.corrections=") else text for text in overrides]
    if name != "train" and not any(text.startswith("data=") for text in overrides):
        # data.root=FOLDER alone changes a key of the data of the run, which this configuration does not hold
        overrides = [f"+{text}" if text.startswith("data.") else text for text in overrides]
    values = [text for text in overrides if text.partition("=")[0] in plain]
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose(name, [literal(text) for text in overrides if text not in values])
        for parsed in OverridesParser.create().parse_overrides(values):
            OmegaConf.update(config, parsed.key_or_group, parsed.value())
        return config
    except (HydraException, ValueError) as error:  # Hydra raises ValueError for a group that is set to null
        raise explained(error, name, overrides) from error


def compose_hydra(name: str, overrides: Sequence[str]) -> Any:
    """Compose Hydra's own configuration, which `compose_config` leaves out, as plain containers, not interpolated."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = compose(name, list(overrides), return_hydra_config=True)
    return OmegaConf.to_container(composed.hydra, resolve=False)


def folder_of_run(overrides: Sequence[str], multirun: bool) -> Path:
    """Return the folder that `conspecific train` makes for a run, or for several, as an absolute path."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = compose("train", list(overrides), return_hydra_config=True)
    return Path(composed.hydra.sweep.dir if multirun else composed.hydra.run.dir).expanduser().absolute()


def to_yaml(config: DictConfig) -> str:
    """A composed configuration as YAML."""
    return OmegaConf.to_yaml(config)


def _plain_keys(name: str) -> set[str]:
    """Keys of `configs/NAME.yaml` that are groups of another command, as `protocol` is of `train`.

    Hydra takes them for groups here too, because it goes by the names of folders.
    """
    own = OmegaConf.to_container(OmegaConf.load(config_dir() / f"{name}.yaml"), resolve=False)
    assert isinstance(own, dict), "a command's configuration is a mapping"
    return {str(key) for key, value in own.items() if not isinstance(value, dict)} & set(groups())


def explained(error: Exception, name: str, overrides: Sequence[str]) -> ConfigError:
    """Return the ConfigError that tells what Hydra's error means for `configs/NAME.yaml` and these overrides."""

    def tree(others: Sequence[str]) -> Any:
        return OmegaConf.to_container(compose_config(name, others), resolve=False)

    return ConfigError(explain(error, overrides, tree))


def typed(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed configuration and return it as an instance of its schema, its paths absolute.

    The configuration is the user's own: classes of the modules that its `allow` names can be built. Raises ConfigError
    for a key the schema does not have, a value of another type, a value that is still missing (`???`), a `_target_`
    that is not allowed at its place, an unknown name where only a few are known, or an argument that the target does
    not take. Only the last of these checks imports what is to be built.
    """
    built = checked(config, schema)
    check_targets(_parts(built), allow=getattr(built, "allow", ()))
    return built


def checked(config: DictConfig, schema: type[Schema]) -> Schema:
    """Do what `typed` does but for the last check: it imports nothing that is to be built."""
    built = _of_schema(config, schema)
    make_absolute(built)
    check_names(_parts(built), allow=getattr(built, "allow", ()))
    check_arguments_as_written(_parts(built))
    check_choices(built)
    return built


def _parts(config: object) -> dict[str, Any]:
    """The groups of options of a typed configuration: name -> node."""
    return {key: value for key, value in vars(config).items() if isinstance(value, dict)}


def _of_schema(config: DictConfig, schema: type[Schema]) -> Schema:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.merge(config, _in_lists(config, schema)))
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise ConfigError(f"{', '.join(missing)} must be given, for example {missing[0]}=VALUE")
        built = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain_omegaconf(error, config, schema)) from error
    assert isinstance(built, schema)
    return built


def _in_lists(config: DictConfig, schema: type[Any]) -> dict[str, list[Any]]:
    """Return single values of keys that take several, as in names=birds.example, as lists of one."""
    lists = [key for key, hint in get_type_hints(schema).items() if get_origin(hint) is list and key in config]
    return {key: [config[key]] for key in lists if isinstance(config[key], str | int | float)}


def _explain_omegaconf(error: OmegaConfBaseException, config: DictConfig, schema: type[Any]) -> str:
    first = str(error).splitlines()[0]
    key = str(getattr(error, "full_key", None) or getattr(error, "key", None) or "")
    if re.match(r"Key '[^']+' not in '\w+'", first):
        return unknown_key(key, _fields(schema, key.split(".")[:-1]))
    if first.startswith("Merge error"):
        key = next(str(name) for name in config if _is_group(schema, str(name)) and not OmegaConf.is_dict(config[name]))
        return f"{key}={config[key]}: {key} has keys of its own: {', '.join(_fields(schema, [key]))}"
    return f"{key}: {first}"


def _fields(schema: type[Any], path: Sequence[str]) -> list[str]:
    """Names of the keys that a schema has below a path."""
    for part in path:
        hint = get_type_hints(schema)[part]
        schema = next(option for option in (hint, *get_args(hint)) if is_dataclass(option) and isinstance(option, type))
    return [field.name for field in fields(schema)]


def _is_group(schema: type[Any], key: str) -> bool:
    hint = get_type_hints(schema).get(key)
    return any(is_dataclass(option) for option in (hint, *get_args(hint)))


def _has_keys(schema: type[Any], key: str) -> bool:
    hint = get_type_hints(schema).get(key)
    return _is_group(schema, key) or dict in (get_origin(option) for option in (hint, *get_args(hint)))


def save_yaml(content: object, path: Path) -> None:
    """Write a typed configuration, or a plain container, as YAML."""
    with write_whole(path) as temporary:
        OmegaConf.save(content, temporary)


def load_typed(path: Path, schema: type[Schema]) -> Schema:
    """Read a configuration that `save_yaml` wrote, as data: nothing that it names is imported.

    The file can come from elsewhere. Its `allow` is ignored, and `${...}` in it is text. Whoever builds a part of it
    has `build` or `check_targets` check the names. Raises ConfigError for what does not fit the schema.
    """
    content = load_plain(path)
    own = {**content, "allow": []} if "allow" in content else content
    for key, value in own.items():
        if isinstance(value, str) and _has_keys(schema, key):  # `${...}` would pass for any type
            raise ConfigError(f"{path}: {key} has keys of its own; found {value!r}")
    try:
        return _of_schema(OmegaConf.create(_escaped(own)), schema)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except OmegaConfBaseException as error:  # a key or value that no configuration can have, such as a date
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from error


def load_plain(path: Path) -> dict[str, Any]:
    """Read a configuration that `save_yaml` wrote as plain containers, without a check against a schema.

    It is ten times faster than `load_typed`, for pages that only show it. Raises ConfigError for what is not YAML, or
    not a mapping.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} does not hold a configuration, which is a mapping of keys to values")
    return content


def _escaped(value: Any) -> Any:
    """Escape every `${` in plain containers, so that OmegaConf does not interpolate."""
    if isinstance(value, dict):
        return {name: _escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
