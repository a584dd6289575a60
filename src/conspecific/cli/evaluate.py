"""conspecific evaluate: score an embedder on any images and protocol, beside the baseline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from conspecific.config.schema import EvaluateConfig
from conspecific.evaluation import Evaluator, compare, references
from conspecific.evaluation.tables import difference_table
from conspecific.leaks.image_hashes import image_hashes
from conspecific.runs.opened import Opened, open_run, read_config
from conspecific.runs.tested import read_splits


def run(arguments: Sequence[str]) -> None:
    """Print the differences to both references, with intervals, and write the results."""
    config = read_config("evaluate", EvaluateConfig, arguments, ["run"])
    console = Console()
    opened = open_run(config)
    evaluator = opened.evaluator(console)
    model = opened.trained.model
    results = references(evaluator, config.subset, model["backbone"], model["weights"], opened.cache)
    results |= evaluator.score({"model": opened.embedder}, config.subset, f"Scoring {config.subset}")
    for name in ("flatten", "pooled"):
        title = f"{config.subset}, protocol {evaluator.splits.protocol}: model against {name}"
        console.print(difference_table(title, ("model", name), compare(results["model"], results[name])), "")
    facts = results["model"].facts
    left_out = f"; {facts['excluded']} more have no other image of their species" if facts["excluded"] else ""
    console.print(
        f"{facts['queries']} queries in {facts['gallery']} images of {facts['species']} species{left_out}.",
        soft_wrap=True,
        highlight=False,
    )
    if config.truncate is not None:
        console.print(f"The model's first {facts['dimensions']} dimensions; the references have all of theirs.")
    if caution := _trained_on(opened, evaluator, config.subset):
        console.print(f"Caution: {caution}", style="yellow")
    folder = _folder(config, opened, evaluator)
    for name, result in results.items():
        result.save(folder / name)
    console.print(f"Results: {folder}", soft_wrap=True)


def _trained_on(opened: Opened, evaluator: Evaluator, subset: str) -> str | None:
    """Say what of a subset the run was trained on, wherever the files lie now; None where it was nothing."""
    if opened.run is None:
        return None
    trained = read_splits(opened.run).filter("train")
    manifest, ids = evaluator.manifest, evaluator.subset(subset).query
    known = image_hashes(manifest, evaluator.fingerprint, opened.cache, evaluator.workers, evaluator.console)
    images = int(np.isin(np.array(known.contents)[ids], trained["content"].to_numpy()).sum())
    if images:
        return f"the run was trained on {images} of these {len(ids)} queries; this is no test of it."
    species = int(manifest.table["label"].gather(ids).is_in(trained["label"].unique().to_list()).sum())
    if evaluator.splits.protocol == "unseen" and species:
        return f"the run was trained on the species of {species} of these {len(ids)} queries: not unseen."
    return None


def _folder(config: EvaluateConfig, opened: Opened, evaluator: Evaluator) -> Path:
    """As asked; else in the run, named after what was scored."""
    if config.output is not None:
        return Path(config.output).expanduser()
    name = (
        f"{config.subset}_{evaluator.splits.protocol}_{evaluator.image_size}px_{evaluator.fingerprint}{opened.suffix}"
    )
    return (opened.run.path if opened.run else Path.cwd()) / "evaluations" / name
