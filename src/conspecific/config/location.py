"""Where the YAML files are: inside an installed wheel, or at the top of a checkout. Standard library only."""

from pathlib import Path

from conspecific.errors import ConfigError

ROOTED = "experiment"  # its folders are part of an option's name, experiment=sweep/arcface, and no groups of their own


def config_dir() -> Path:
    """Return the folder of the configurations, for wheel, editable and source installs alike."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parents[1] / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(
        f"found no YAML files of configurations near {package}: reinstall conspecific, whose wheel contains them"
    )


def options(group: str) -> list[str]:
    """Names of the YAML files of a group, sorted.

    >>> options("debug"), "sweep/arcface" in options("experiment")
    (['fast'], True)
    """
    folder = config_dir() / group
    found = folder.rglob("*.yaml") if group == ROOTED else folder.glob("*.yaml")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in found)


def groups() -> list[str]:
    """Names of all groups, sorted."""
    return sorted(path.name for path in config_dir().iterdir() if path.is_dir() and not path.name.startswith("."))


def all_groups() -> list[str]:
    """Names of all groups and the groups inside them, as `loss` and `loss/miner`, sorted."""
    base = config_dir()
    found = {path.parent.relative_to(base).as_posix() for path in base.rglob("*/*.yaml")}
    return sorted({ROOTED if name.startswith(f"{ROOTED}/") else name for name in found})
