"""conspecific evaluate: score an embedder on any pictures and protocol, beside the baseline."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from conspecific.cli.opened import Opened, open_run, read_config
from conspecific.config.schema import EvaluateConfig
from conspecific.evaluation import Evaluator, compare, references
from conspecific.evaluation.tables import difference_table


def run(arguments: Sequence[str]) -> None:
    """Print the differences to both references, with intervals, and write the results."""
    config = read_config("evaluate", EvaluateConfig, arguments, ["run"])
    console = Console()
    opened = open_run(config)
    evaluator = opened.evaluator(console)
    model = opened.trained.model
    results = references(evaluator, config.part, model["backbone"], model["weights"], opened.cache)
    results |= evaluator.score({"model": opened.embedder}, config.part, f"Scoring {config.part}")
    for name in ("flatten", "pooled"):
        title = f"{config.part}, protocol {evaluator.splits.protocol}: model against {name}"
        console.print(difference_table(title, ("model", name), compare(results["model"], results[name])))
    facts = results["model"].facts
    console.print(f"{facts['queries']} queries in {facts['gallery']} pictures of {facts['species']} species; ", end="")
    console.print(f"{facts['excluded']} queries have no other picture of their species and are left out.")
    if caution := _trained_on(opened, evaluator, config.part):
        console.print(f"Caution: {caution}", style="yellow")
    folder = _folder(config, opened, evaluator)
    for name, result in results.items():
        result.save(folder / name)
    console.print(f"Results: {folder}", soft_wrap=True)


def _trained_on(opened: Opened, evaluator: Evaluator, part: str) -> str | None:
    """Say what of a part the run was trained on; None where it was nothing, or the pictures are not the run's own."""
    run = opened.run
    if run is None or json.loads(run.environment.read_text())["data_fingerprint"] != evaluator.fingerprint:
        return None
    trained = np.flatnonzero(pl.read_parquet(run.splits)["train"].to_numpy())
    ids, labels = evaluator.part(part).query, evaluator.manifest.labels
    pictures, species = np.isin(ids, trained), np.isin(labels[ids], labels[trained])
    if pictures.any():
        return f"the run was trained on {pictures.sum()} of these {len(ids)} queries; this is no test of it."
    if evaluator.splits.protocol == "unseen" and species.any():
        return f"the run was trained on the species of {species.sum()} of these {len(ids)} queries: not unseen."
    return None


def _folder(config: EvaluateConfig, opened: Opened, evaluator: Evaluator) -> Path:
    """As asked; else in the run, named after what was scored."""
    if config.output is not None:
        return Path(config.output).expanduser()
    name = f"{config.part}_{evaluator.splits.protocol}_{evaluator.image_size}px_{evaluator.fingerprint}"
    return (opened.run.path if opened.run else Path.cwd()) / "evaluations" / name
