"""From a run to a folder that other programs use."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from conspecific.config.schema import ExportConfig
from conspecific.errors import ConfigError
from conspecific.exporting.card import card
from conspecific.exporting.formats import FILES, usable
from conspecific.exporting.network import ExportedNetwork
from conspecific.exporting.parity import Parity, measure
from conspecific.files import refuse_other_content, write_json, write_text, write_whole_folder
from conspecific.runs.open import OpenRun, open_run

PREPROCESSING, PARITY, README = "preprocessing.json", "parity.json", "README.md"
KIND = "conspecific export"


@dataclass(frozen=True)
class Export:
    """A folder that was written. bytes: of all its files."""

    folder: Path
    parity: Parity
    bytes: int


def export_run(config: ExportConfig, console: Console) -> Export:
    """Write the embedder of a run in a format, with its preprocessing, its agreement with torch and a README.

    The folder is written whole or not at all; an export that was there before is replaced. Raises ConfigError where
    packages or options do not fit the format, and RunError where the folder holds anything else or the result is not
    the network of torch.
    """
    _check(config)
    form = usable(config.format, config.uint8)
    opened = open_run(config)
    folder = _folder(opened, config)
    require_replaceable(folder)
    evaluator = opened.evaluator(console) if config.images else None
    network = ExportedNetwork(opened.embedder, opened.image_size, config.uint8)
    with write_whole_folder(folder) as temporary:
        form.write(network, temporary)
        parity = measure(network, form.open(temporary, network), evaluator, config.images)
        parity.require_equal()
        write_json(temporary / PREPROCESSING, {"kind": KIND, "format": config.format, **network.describe()})
        write_json(temporary / PARITY, parity.to_json())
        write_text(temporary / README, card(opened, config.format, network, parity, config.license))
    return Export(folder, parity, sum(path.stat().st_size for path in folder.iterdir()))


def require_replaceable(folder: Path) -> None:
    """Raise RunError if a folder of that name holds anything but an export: writing there would delete it."""
    refuse_other_content(folder, "those of an export", {PREPROCESSING, PARITY, README, *FILES}, is_export)


def is_export(folder: Path) -> bool:
    """Whether a folder was written by `export_run`."""
    try:
        facts = json.loads((folder / PREPROCESSING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and facts.get("kind") == KIND


def _check(config: ExportConfig) -> None:
    if config.images < 0:
        raise ConfigError(f"images must be 0 or more, how many test images are compared; found {config.images}")
    if config.license is not None and not re.fullmatch(r"[\w.+-]+", config.license):
        raise ConfigError(f"license={config.license} is no identifier of a license, such as apache-2.0 or cc-by-nc-4.0")


def _folder(opened: OpenRun, config: ExportConfig) -> Path:
    """The folder asked for, else one in the run whose name tells this export from others."""
    if config.output:
        return Path(config.output).expanduser()
    size = f"_{opened.image_size}px" if opened.image_size != opened.trained.loader.image_size else ""
    name = f"{config.format}{'_uint8' if config.uint8 else ''}{size}{opened.suffix}"
    return (opened.run.path if opened.run else Path.cwd()) / "exports" / name
