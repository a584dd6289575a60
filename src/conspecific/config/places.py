"""Keys that name files and folders, and stay right wherever a run is opened from."""

import os
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from conspecific.config.overrides import override

RECORDED = (
    "data.cache",
    "data.path",
    "data.root",
    "model.backbone",
    "model.weights",
    "paths.cache",
    "paths.runs",
    "teacher.backbone",
    "teacher.weights",
)
"""Keys with a path that the record of a run holds."""
IN_FOLDER = "local-dir:"  # what timm calls a backbone in a folder
NAMES_OF_WEIGHTS = frozenset({"bundled", "timm", "none"})


def make_absolute(config: Any) -> None:
    """Make the paths of a typed configuration absolute, in place."""
    for key in RECORDED:
        group, _, name = key.partition(".")
        node = getattr(config, group, None)
        values = node if isinstance(node, dict) else getattr(node, "__dict__", {})
        if isinstance(values.get(name), str):
            values[name] = _absolute(key, values[name])


def absolute_override(text: str) -> str:
    """Return KEY=VALUE with its path absolute, where the key has one; several values stay as they are.

    >>> absolute_override("seed=1"), absolute_override("data.root=/birds")
    ('seed=1', "data.root='/birds'")
    """
    if text.partition("=")[0].lstrip("+") not in RECORDED:
        return text
    [parsed] = OverridesParser.create().parse_overrides([text])
    value = parsed.value()
    if not isinstance(value, str) or "${" in value:
        return text
    return override(parsed.get_key_element(), _absolute(parsed.key_or_group, value))


def _absolute(key: str, value: str) -> str:
    """Return a path as an absolute one; a name of weights, which no file has, and of a backbone stays.

    >>> _absolute("model.backbone", "local-dir:/my/vit"), _absolute("model.backbone", "resnet18")
    ('local-dir:/my/vit', 'resnet18')
    """
    if key.endswith(".backbone"):
        prefix, found, folder = value.partition(IN_FOLDER)
        return f"{IN_FOLDER}{Path(os.path.expanduser(folder)).absolute()}" if found and not prefix else value
    path = Path(os.path.expanduser(value)).absolute()
    is_name = key.endswith(".weights") and (value in NAMES_OF_WEIGHTS or not path.exists())
    return value if is_name else str(path)
