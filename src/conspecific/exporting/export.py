"""From a run to a folder that other programs use."""

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from conspecific.config.schema import ExportConfig
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.exporting.card import card
from conspecific.exporting.formats import FILES, Format, usable
from conspecific.exporting.int8 import Int8, calibration_batches, calibration_ids
from conspecific.exporting.network import ExportedNetwork
from conspecific.exporting.parity import Parity, measure
from conspecific.files import refuse_other_content, write_json, write_text, write_whole_folder
from conspecific.reading import read_object
from conspecific.runs.open import OpenRun, open_run

PREPROCESSING, PARITY, README = "preprocessing.json", "parity.json", "README.md"
KIND = "conspecific export"


@dataclass(frozen=True)
class Export:
    """A folder that was written. bytes: of all its files. int8: what that costs, None for an export in float32."""

    folder: Path
    parity: Parity
    bytes: int
    int8: Int8 | None = None


def export_run(config: ExportConfig, console: Console) -> Export:
    """Write the embedder of a run in a format, with its preprocessing, its agreement with torch and a README.

    The folder is written whole or not at all; an export that was there before is replaced. Raises ConfigError where
    packages or options do not fit the format, and RunError where the folder holds anything else or the result is not
    the network of torch.
    """
    _check(config)
    form = usable(config.format, config.uint8, config.int8)
    opened = open_run(config)
    folder = _folder(opened, config)
    require_replaceable(folder)
    evaluator = opened.evaluator(console) if config.images else None
    network = ExportedNetwork(opened.embedder, opened.image_size, config.uint8)
    with write_whole_folder(folder) as temporary:
        if config.int8:
            assert evaluator is not None
            parity, int8 = _write_int8(form, network, temporary, evaluator, config.images)
        else:
            form.write(network, temporary)
            parity, int8 = measure(network, form.open(temporary, network), evaluator, config.images), None
        parity.require_equal(config.int8)
        facts = {"precision": "int8" if config.int8 else "float32", **network.describe()}
        write_json(temporary / PREPROCESSING, {"kind": KIND, "format": config.format, **facts})
        write_json(temporary / PARITY, {**parity.to_json(), **({"int8": int8.to_json()} if int8 else {})})
        write_text(temporary / README, card(opened, config.format, network, parity, int8, config.license))
    return Export(folder, parity, _bytes(folder), int8)


def _write_int8(
    form: Format, network: ExportedNetwork, folder: Path, evaluator: Evaluator, most: int
) -> tuple[Parity, Int8]:
    """Write a network in int8, and measure how near it comes to torch and what it costs beside float32."""
    assert form.quantize is not None
    ids = calibration_ids(evaluator)
    with TemporaryDirectory() as float32:
        form.write(network, Path(float32))
        form.quantize(network, Path(float32), folder, calibration_batches(network, evaluator, ids))
        parity = measure(network, form.open(folder, network), evaluator, most)
        run = form.open(Path(float32), network)
        found = Int8.measure(
            lambda pixels: run(network.prepared(pixels)), _bytes(Path(float32)), ids, evaluator, parity
        )
    return parity, found


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def require_replaceable(folder: Path) -> None:
    """Raise RunError if a folder of that name holds anything but an export: writing there would delete it."""
    refuse_other_content(folder, "those of an export", {PREPROCESSING, PARITY, README, *FILES}, is_export)


def is_export(folder: Path) -> bool:
    """Whether a folder was written by `export_run`."""
    facts = read_object(folder / PREPROCESSING)
    return facts is not None and facts.get("kind") == KIND


def _check(config: ExportConfig) -> None:
    if config.images < 0:
        raise ConfigError(f"images must be 0 or more, how many test images are compared; found {config.images}")
    if config.int8 and not config.images:
        raise ConfigError("int8=true is calibrated on images of the run and compared on others: leave out images=0")
    if config.license is not None and not re.fullmatch(r"[\w.+-]+", config.license):
        raise ConfigError(f"license={config.license} is no identifier of a license, such as apache-2.0 or cc-by-nc-4.0")


def _folder(opened: OpenRun, config: ExportConfig) -> Path:
    """The folder asked for, else one in the run whose name tells this export from others."""
    if config.output:
        return Path(config.output).expanduser()
    size = f"_{opened.image_size}px" if opened.image_size != opened.trained.loader.image_size else ""
    name = f"{config.format}{'_uint8' if config.uint8 else ''}{'_int8' if config.int8 else ''}{size}{opened.suffix}"
    return (opened.run.path if opened.run else Path.cwd()) / "exports" / name
