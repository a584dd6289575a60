"""The costs of indexes, measured on the test images of a run and kept in its record."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from conspecific.errors import RunError
from conspecific.evaluation import Evaluator
from conspecific.evaluation.index_costs import Flipped, IndexCost, index_costs
from conspecific.files import write_json
from conspecific.progress import progress_bar
from conspecific.reading import read_json
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun
from conspecific.runs.within_species import read_within_species
from conspecific.types import IntArray

SUBSET = "test"


def measure_costs(opened: OpenRun, console: Console) -> tuple[list[IndexCost], Path | None]:
    """Measure every way to search the test images, and keep the costs in the run where the images are its own.

    Returns the file too, None where nothing was kept.
    """
    evaluator = opened.evaluator(console)
    backbone = opened.embedder.backbone
    evaluator = evaluator.encoded_once(backbone, SUBSET)
    known, subset = evaluator.activations.get(SUBSET), evaluator.subset(SUBSET)
    encoder = None if known else evaluator.encoder(backbone)
    title, rows = "Embedding test", known.rows if known else None
    embeddings = evaluator.embed({"model": opened.embedder}, subset.ids, title, rows, encoder)["model"]
    flipped = _flipped(opened, evaluator, subset.ids)
    facts = {"protocol": evaluator.splits.protocol, "subset": SUBSET}
    with progress_bar(console) as progress:
        task = progress.add_task("Measuring", total=None)
        costs = index_costs(
            embeddings,
            subset,
            evaluator.manifest,
            opened.embedder.metric,
            facts,
            lambda name: progress.update(task, description=f"Measuring {name}"),
            flipped,
            read_within_species(opened),
        )
    if opened.run is None or not opened.has_own_images or opened.suffix:
        return costs, None
    write_json(opened.run.index_costs, [cost.to_json() for cost in costs])
    return costs, opened.run.index_costs


def _flipped(opened: OpenRun, evaluator: Evaluator, ids: IntArray) -> Flipped:
    """Embed mirrored images, and measure what that takes; their activations are not known."""
    encoder = evaluator.encoder(opened.embedder.backbone)
    began = time.perf_counter()
    found = evaluator.embed(
        {"model": opened.embedder}, ids, "Embedding mirrored images", encoder=encoder, mirrored=True
    )
    return Flipped(found["model"], (time.perf_counter() - began) / len(ids))


def read_costs(run: RunDirectory) -> Sequence[IndexCost]:
    """Read the costs that were kept; none where nobody measured. Raises RunError where they cannot be read."""
    if not run.index_costs.is_file():
        return ()
    try:
        return [IndexCost.from_json(stored) for stored in read_json(run.index_costs)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{run.index_costs} does not hold costs of indexes: {error!r}") from error
