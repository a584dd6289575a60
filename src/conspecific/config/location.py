"""Where the YAML lies: inside an installed wheel, or at the top of a checkout. Standard library only."""

from pathlib import Path

from conspecific.errors import ConfigError


def config_dir() -> Path:
    """Return the folder of the configurations, for wheel, editable and source installs alike."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parents[1] / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"no configurations beside {package}: reinstall conspecific (its wheel carries them)")


def options(group: str) -> list[str]:
    """Names of the YAML files of a group, sorted.

    >>> options("loss/miner")
    ['batch_hard', 'multi_similarity', 'semi_hard']
    """
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def groups() -> list[str]:
    """Names of all groups, sorted."""
    return sorted(path.name for path in config_dir().iterdir() if path.is_dir() and not path.name.startswith("."))


def all_groups() -> list[str]:
    """Names of all groups and the groups inside them, as `loss` and `loss/miner`, sorted."""
    base = config_dir()
    return sorted({path.parent.relative_to(base).as_posix() for path in base.rglob("*/*.yaml")})
