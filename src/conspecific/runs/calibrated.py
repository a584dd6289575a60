"""What validation makes of local re-ranking, kept in the run: found once, for searches and the page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from conspecific.config.schema import EvaluateConfig
from conspecific.errors import ConfigError, ConspecificError, RunError
from conspecific.evaluation import Difference, Evaluator, device_for
from conspecific.evaluation.local.calibration import Calibration, calibrate
from conspecific.evaluation.local.cells import CellDescriptors, Cells, fit_cells
from conspecific.evaluation.local.described import LocalDescriptors
from conspecific.evaluation.local.fusion import Fusion
from conspecific.files import write_whole_folder
from conspecific.models.tensor_file import read_tensors, save_tensors
from conspecific.runs.open import OpenRun
from conspecific.types import EvalResult

RESULT, CELLS = "validation", "cells.safetensors"


def open_calibration(opened: OpenRun, first: int, console: Console) -> tuple[Calibration, LocalDescriptors]:
    """Return what validation makes of re-ranking: as the run keeps it, or found now and kept there.

    Raises ConfigError where these are not the embeddings that the run's validation scored.
    """
    if opened.run is None or not opened.is_as_validated:
        raise ConfigError(
            "local is calibrated on the validation images of a run, for its weights as they were selected: give a run "
            "that has ended, without truncate and image_size, or leave local out"
        )
    if (kept := read_calibration(opened, first, console)) is not None:
        return kept
    own = replace(opened, config=replace(opened.config, data=None))
    console.print("Calibrating local re-ranking on the validation images of the run, once.", highlight=False)
    evaluator = own.evaluator(Console(quiet=True)).encoded_once(opened.embedder.backbone, "val")
    kind = fit_cells(evaluator, opened.embedder)
    calibration = calibrate(evaluator, opened.embedder, kind, first)
    keep_calibration(own, evaluator, calibration, kind)
    return calibration, kind


def scores_own_validation(opened: OpenRun, exclude_group: bool) -> bool:
    """Whether an evaluation is of the validation images that the run recorded, for the weights that it selected."""
    asked, divided = opened.config, False
    if isinstance(asked, EvaluateConfig):
        divided = asked.protocol is not None or any(value is not None for value in vars(asked.split).values())
    own = opened.is_as_validated and asked.data is None and not divided
    return own and exclude_group == opened.trained.exclude_group


def keep_calibration(opened: OpenRun, evaluator: Evaluator, calibration: Calibration, kind: LocalDescriptors) -> None:
    """Keep a calibration in the run for searches, if it was made on the run's own validation."""
    if not scores_own_validation(opened, evaluator.exclude_group):
        return
    facts = {
        "first": calibration.first,
        "name": calibration.name,
        "fusion": calibration.fusion.to_json(),
        "spread": list(calibration.spread),
        "gains": [each.to_json() for each in calibration.gains],
        "encoder": opened.encoder_facts(),
    }
    validated = replace(calibration.validated, facts={**calibration.validated.facts, "calibration": facts})
    with write_whole_folder(_folder(opened, calibration.first, calibration.name)) as folder:
        validated.save(folder / RESULT)
        if isinstance(kind, CellDescriptors):
            save_tensors({"centre": kind.cells.centre, "matrix": kind.cells.matrix}, folder / CELLS)


def read_calibration(opened: OpenRun, first: int, console: Console) -> tuple[Calibration, LocalDescriptors] | None:
    """Return what `keep_calibration` kept; None where there is none for these weights, or it cannot be read."""
    folder = _folder(opened, first, "cells")
    if not (folder / f"{RESULT}.json").is_file():
        return None
    try:
        validated = EvalResult.load(folder / RESULT)
        facts: Any = validated.facts["calibration"]
        calibration = _from_facts(facts, validated)
        if facts["encoder"] != opened.encoder_facts() or calibration.first != first:
            return None
        return calibration, _cells(opened, folder / CELLS)
    except (ConspecificError, LookupError, TypeError, ValueError) as error:
        console.print(f"{folder} is not used: {error}", soft_wrap=True, highlight=False, style="yellow")
        return None


def _from_facts(facts: Any, validated: EvalResult) -> Calibration:
    own, local = facts["spread"]
    gains = [Difference.from_json(each) for each in facts["gains"]]
    fusion = Fusion.from_json(facts["fusion"])
    return Calibration(int(facts["first"]), str(facts["name"]), fusion, (float(own), float(local)), validated, gains)


def _cells(opened: OpenRun, file: Path) -> CellDescriptors:
    tensors, channels = read_tensors(file), opened.embedder.backbone.channels
    centre, matrix = tensors["centre"].float(), tensors["matrix"].float()
    if centre.shape != (channels,) or matrix.ndim != 2 or matrix.shape[0] != channels:
        raise RunError(f"{file} is of another network: {list(matrix.shape)}, where {channels} channels are needed")
    if not (centre.isfinite().all() and matrix.isfinite().all()):
        raise RunError(f"{file} holds values that are not finite")
    network, device = opened.embedder, device_for(opened.config.device)
    return CellDescriptors(Cells(centre, matrix), network, network.backbone, device, opened.image_size)


def _folder(opened: OpenRun, first: int, name: str) -> Path:
    assert opened.run is not None, "a run keeps its calibrations"
    return opened.run.local / f"{name}_{first}"
