"""What validation makes of local re-ranking, kept in the run: found once, for searches and the page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from conspecific.config.schema import EvaluateConfig, LocalConfig
from conspecific.errors import ConfigError, ConspecificError, RunError
from conspecific.evaluation import Difference, Evaluator, device_for
from conspecific.evaluation.local.calibration import Calibration, calibrate
from conspecific.evaluation.local.cells import CellDescriptors, Cells, fit_cells
from conspecific.evaluation.local.described import LocalDescriptors
from conspecific.evaluation.local.fusion import Fusion
from conspecific.evaluation.local.keypoints import open_keypoints
from conspecific.files import sha256_of, write_whole_folder
from conspecific.models import Embedder
from conspecific.models.tensor_file import read_tensors, save_tensors
from conspecific.runs.open import OpenRun
from conspecific.types import EvalResult

CELLS, RESULT, FITTED = "cells", "validation", "cells.safetensors"


def open_calibration(opened: OpenRun, asked: LocalConfig, console: Console) -> tuple[Calibration, LocalDescriptors]:
    """Return what validation makes of re-ranking: as the run keeps it, or found now and kept there.

    asked: how answers are re-ranked. Raises ConfigError where these are not the embeddings that the run's validation
    scored.
    """
    if opened.run is None or not opened.is_as_validated:
        raise ConfigError(
            "local is calibrated on the validation images of a run, for its weights as they were selected: give a run "
            "that has ended, without truncate and image_size, or leave local out"
        )
    if (kept := read_calibration(opened, asked, console)) is not None:
        return kept
    own = replace(opened, config=replace(opened.config, data=None))
    console.print("Calibrating local re-ranking on the validation images of the run, once.", highlight=False)
    evaluator = own.evaluator(Console(quiet=True)).encoded_once(opened.embedder.backbone, "val")
    kind = descriptors(evaluator, opened.embedder, asked)
    calibration = calibrate(evaluator, opened.embedder, kind, asked.local)
    keep_calibration(own, asked, evaluator, calibration, kind)
    return calibration, kind


def descriptors(evaluator: Evaluator, embedder: Embedder, asked: LocalConfig) -> LocalDescriptors:
    """Return the local descriptors that are asked for; cells are fitted to validation images."""
    if asked.local_descriptors == CELLS:
        return fit_cells(evaluator, embedder)
    return open_keypoints(asked.local_descriptors, asked.local_weights, evaluator.image_size, evaluator.device)


def scores_own_validation(opened: OpenRun, exclude_group: bool) -> bool:
    """Whether an evaluation is of the validation images that the run recorded, for the weights that it selected."""
    asked, divided = opened.config, False
    if isinstance(asked, EvaluateConfig):
        divided = asked.protocol is not None or any(value is not None for value in vars(asked.split).values())
    own = opened.is_as_validated and asked.data is None and not divided
    return own and exclude_group == opened.trained.exclude_group


def keep_calibration(
    opened: OpenRun, asked: LocalConfig, evaluator: Evaluator, calibration: Calibration, kind: LocalDescriptors
) -> None:
    """Keep a calibration in the run for searches, if it was made on the run's own validation."""
    if not scores_own_validation(opened, evaluator.exclude_group):
        return
    facts = {
        "first": calibration.first,
        "name": calibration.name,
        "fusion": calibration.fusion.to_json(),
        "spread": list(calibration.spread),
        "gains": [each.to_json() for each in calibration.gains],
        "made_of": _made_of(opened, asked),
    }
    validated = replace(calibration.validated, facts={**calibration.validated.facts, "calibration": facts})
    with write_whole_folder(_folder(opened, asked)) as folder:
        validated.save(folder / RESULT)
        if isinstance(kind, CellDescriptors):
            save_tensors({"centre": kind.cells.centre, "matrix": kind.cells.matrix}, folder / FITTED)


def read_calibration(
    opened: OpenRun, asked: LocalConfig, console: Console
) -> tuple[Calibration, LocalDescriptors] | None:
    """Return what `keep_calibration` kept; None where there is none for these weights, or it cannot be read."""
    folder = _folder(opened, asked)
    if not (folder / f"{RESULT}.json").is_file():
        return None
    try:
        validated = EvalResult.load(folder / RESULT)
        facts: Any = validated.facts["calibration"]
        calibration = _from_facts(facts, validated)
        if facts["made_of"] != _made_of(opened, asked) or calibration.first != asked.local:
            return None
        if asked.local_descriptors == CELLS:
            return calibration, _cells(opened, folder / FITTED)
    except (ConspecificError, LookupError, TypeError, ValueError) as error:
        console.print(f"{folder} is not used: {error}", soft_wrap=True, highlight=False, style="yellow")
        return None
    device = device_for(opened.config.device)
    return calibration, open_keypoints(asked.local_descriptors, asked.local_weights, opened.image_size, device)


def _made_of(opened: OpenRun, asked: LocalConfig) -> dict[str, Any]:
    """Return what a calibration depends on: the weights and their use, and the files of local descriptors."""
    files = [sha256_of(Path(file).expanduser()) for file in asked.local_weights]
    return {**opened.encoder_facts(), "local_weights": files}


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


def _folder(opened: OpenRun, asked: LocalConfig) -> Path:
    assert opened.run is not None, "a run keeps its calibrations"
    return opened.run.local / f"{asked.local_descriptors}_{asked.local}"
