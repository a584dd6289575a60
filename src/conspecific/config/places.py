"""Keys that name files and folders, and stay right wherever a run is opened from."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from hydra.core.override_parser.overrides_parser import OverridesParser

from conspecific.config.choices import IN_FOLDER, NamedWeights
from conspecific.config.overrides import RECORDED, override
from conspecific.errors import ConfigError

REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
"""How an operating system refuses to write; other errors are not about a place."""


def make_absolute(config: Any) -> None:
    """Make the paths of a typed configuration absolute, in place."""
    for key in sorted(RECORDED, key=lambda key: not key.startswith("paths.")):  # of which others are made
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

    Raises ConfigError for `~` where there is no home directory, as in some containers.

    >>> _absolute("model.backbone", "local-dir:/my/vit"), _absolute("model.backbone", "resnet18")
    ('local-dir:/my/vit', 'resnet18')
    """
    if key.endswith(".backbone"):
        prefix, found, folder = value.partition(IN_FOLDER)
        return f"{IN_FOLDER}{Path(os.path.expanduser(folder)).absolute()}" if found and not prefix else value
    expanded = os.path.expanduser(value)
    if expanded.startswith("~") and not Path(expanded).exists():
        raise ConfigError(f"{key}={value} names a home directory that there is not: give another path, or set HOME")
    path = Path(expanded).absolute()
    is_name = key.endswith(".weights") and (value in get_args(NamedWeights) or not path.exists())
    return value if is_name else str(path)


@contextmanager
def writing(config: Any) -> Iterator[None]:
    """Raise ConfigError where the operating system refuses to write in the block, with the key of the folder.

    config: the typed configuration of the command.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise ConfigError(_refusal(error, _folders(config))) from error


def _folders(config: Any) -> Mapping[str, Path]:
    """Key -> the folder that it names and the command writes into; `output` where no other key has the file."""
    paths = {f"paths.{name}": getattr(config.paths, name) for name in ("cache", "runs")}
    paths["hydra.run.dir"] = config.paths.run
    if hasattr(config, "output"):
        paths["output"] = config.output or "/"
    return {key: Path(os.path.expanduser(path)).absolute() for key, path in paths.items() if path}


def _refusal(error: OSError, folders: Mapping[str, Path]) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"a file cannot be written: {reason}. The folders are set by {', '.join(folders)}"
    file = Path(os.fsdecode(error.filename)).absolute()
    above = [(len(folder.parts), key) for key, folder in folders.items() if _same_place(file, folder)]
    if not above:
        return f"{file} cannot be used: {reason}"
    return f"{file} cannot be written: {reason}. Set {max(above)[1]} to another place"


def _same_place(file: Path, folder: Path) -> bool:
    """Whether a file is in a folder, or is above it: what cannot be made there keeps the folder from being made."""
    return file.is_relative_to(folder) or folder.is_relative_to(file)
