"""From YAML and overrides to a typed configuration."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conspecific.config.location import config_dir
from conspecific.config.targets import check_targets
from conspecific.errors import ConfigError, did_you_mean

Schema = TypeVar("Schema")


def compose_config(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose `configs/NAME.yaml` with overrides, as the command of that name does.

    Raises ConfigError for a key or an option that does not exist, naming its neighbours.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(name, list(overrides))
    except ConfigCompositionException as error:
        raise ConfigError(explain(error, name, overrides)) from error


def typed(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed configuration and return it as an instance of its schema.

    Raises ConfigError for a key the schema does not have, a value of another type, a value that is still missing
    (`???`), or an argument that the part it belongs to does not take.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), config)
        OmegaConf.resolve(merged)
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise ConfigError(f"{', '.join(missing)} must be given, for example {missing[0]}=VALUE")
        built = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain_omegaconf(error, config, schema)) from error
    assert isinstance(built, schema)
    check_targets({key: value for key, value in vars(built).items() if isinstance(value, dict)})
    return built


def explain(error: ConfigCompositionException, name: str, overrides: Sequence[str]) -> str:
    """Put Hydra's message into one sentence and name the neighbours of a key that does not exist."""
    text = str(error).strip()
    cause = f"\n{error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    found = re.search(r"Could not override '([^']+)'", text)
    if not found:
        return text + cause
    key = found[1]
    return f"{key} is not a key of this configuration. {_neighbours(key, name, overrides)}"


def _neighbours(key: str, name: str, overrides: Sequence[str]) -> str:
    """Compose without the overrides of that key, walk to where it should have been, and name what is there."""
    others = [text for text in overrides if not text.lstrip("+~").startswith((f"{key}=", f"{key}."))]
    node: Any = OmegaConf.to_container(compose_config(name, others), resolve=False)
    for part in key.split("."):
        if not isinstance(node, dict):
            return f"Nothing lies below {key.rpartition('.')[0]}."
        if part not in node:
            return did_you_mean(part, map(str, node))
        node = node[part]
    return "It is already there with another form."


def _explain_omegaconf(error: OmegaConfBaseException, config: DictConfig, schema: type[Any]) -> str:
    first = str(error).splitlines()[0]
    key = getattr(error, "full_key", None) or getattr(error, "key", None)
    found = re.match(r"Key '([^']+)' not in '(\w+)'", first)
    if not found:
        return f"{key}: {first}"
    parent: Any = OmegaConf.structured(schema)
    for part in str(key).split(".")[:-1]:
        parent = parent[part]
    return f"{key} is not a key of this configuration. {did_you_mean(found[1], map(str, parent))}"


def save_yaml(config: object, path: Path) -> None:
    """Write a typed configuration as YAML."""
    OmegaConf.save(OmegaConf.structured(config), path)
