"""conspecific evaluate: score an embedder on any images and protocol, and compare it with the references."""

from pathlib import Path

from conspecific.config.schema import EvaluateConfig
from conspecific.evaluation import compare, references
from conspecific.evaluation.local import evaluate_local
from conspecific.evaluation.rejection import rejection_of, with_rejection
from conspecific.evaluation.tables import difference_table
from conspecific.evaluation.taxonomy import describe_ranks
from conspecific.runs.open import open_run
from conspecific.runs.within_species import asked_within_species
from conspecific.tables import PlainConsole
from conspecific.types import require_results


def run(config: EvaluateConfig) -> None:
    """Print the differences to both references, with intervals, and write the results."""
    console = PlainConsole()
    opened = open_run(config)
    within = asked_within_species(opened, config.refine)
    evaluator = opened.evaluator(console)
    caution = opened.training_caution(evaluator, config.subset)
    folder = Path(config.output).expanduser() if config.output else opened.evaluation_folder(evaluator)
    refined = [f"model_{config.refine.name}"] * bool(config.refine.name) + ["model_local"] * bool(config.local)
    names = ["flatten", "pooled", "model", *refined]
    require_results(folder, names)  # what cannot be written is refused before the work, not after
    model = opened.trained.model
    backbone, stages = opened.embedder.backbone, model.get("trainable_stages")
    evaluator = evaluator.encoded_once(backbone, config.subset)
    results = references(evaluator, config.subset, model["backbone"], model["weights"], opened.cache, stages)
    encoder = None if config.subset in evaluator.activations else evaluator.encoder(backbone)
    title = f"Scoring {config.subset}"
    results |= evaluator.score({"model": opened.embedder}, config.subset, title, encoder, config.refine, within)
    plain = {name: results[name] for name in ("flatten", "pooled", "model")}
    validation = opened.validation if config.subset == "test" else {}
    results |= with_rejection(plain, validation, "model")
    subject = f"{config.subset}, protocol {evaluator.splits.protocol}"
    for name in ("flatten", "pooled"):
        differences = compare(results["model"], results[name])
        console.print(difference_table(f"{subject}: model against {name}", ("model", name), differences), "")
    if config.refine.name:
        differences = compare(results[f"model_{config.refine.name}"], results["model"])
        title = f"{subject}: model refined by {config.refine.name} against its plain search"
        console.print(difference_table(title, ("refined", "plain"), differences), "")
    if config.local:
        local = evaluate_local(evaluator, opened.embedder, config.subset, config.local)
        results["model_local"] = local.result
        title = f"{subject}: the first {config.local} answers re-ranked by matching cells against the plain search"
        console.print(difference_table(title, ("re-ranked", "plain"), compare(local.result, results["model"])), "")
        console.print(str(local), "", soft_wrap=True, highlight=False)
    facts = results["model"].facts
    left_out = f"; {facts['excluded']} more have no other image of their species" if facts["excluded"] else ""
    console.print(
        f"{facts['queries']} queries in {facts['gallery']} images of {facts['species']} species{left_out}.",
        soft_wrap=True,
        highlight=False,
    )
    for sentence in rejection.describe() if (rejection := rejection_of(results["model"])) else ():
        console.print(f"{sentence}.", soft_wrap=True, highlight=False)
    for sentence in describe_ranks(results["model"], validation.get("model")):
        console.print(f"{sentence}.", soft_wrap=True, highlight=False)
    if config.truncate is not None:
        console.print(f"The model's first {facts['dimensions']} dimensions; the references have all of theirs.")
    if caution:
        console.print(f"Caution: {caution}", style="yellow", soft_wrap=True)
    for name, result in results.items():
        result.save(folder / name)
    console.print(f"Results: {folder}", soft_wrap=True)
