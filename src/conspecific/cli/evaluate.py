"""conspecific evaluate: score an embedder on any pictures and protocol, beside the baseline."""

from collections.abc import Sequence
from pathlib import Path

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
    folder = _folder(config, opened, evaluator)
    for name, result in results.items():
        result.save(folder / name)
    console.print(f"Results: {folder}", soft_wrap=True)


def _folder(config: EvaluateConfig, opened: Opened, evaluator: Evaluator) -> Path:
    """As asked; else in the run, named after what was scored."""
    if config.output is not None:
        return Path(config.output).expanduser()
    name = f"{config.part}_{evaluator.splits.protocol}_{evaluator.image_size}px_{evaluator.fingerprint}"
    return (opened.run.path if opened.run else Path.cwd()) / "evaluations" / name
