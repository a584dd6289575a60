"""conspecific evaluate: score an embedder on any images and protocol, and compare it with the references."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from conspecific.config.schema import EvaluateConfig
from conspecific.evaluation import Evaluator, compare, references
from conspecific.evaluation.local.calibration import calibrate, evaluate_local
from conspecific.evaluation.rejection import rejection_of, with_rejection
from conspecific.evaluation.tables import difference_table
from conspecific.evaluation.taxonomy import describe_ranks
from conspecific.runs.calibrated import descriptors, keep_calibration
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.within_species import asked_within_species
from conspecific.tables import PlainConsole
from conspecific.types import EvalResult, require_results


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
    _print_differences(results, config.refine.name, subject, console)
    if config.local:
        results["model_local"] = _rerank(opened, evaluator, results["model"], subject, console)
    _print_described(results["model"], validation.get("model"), config.truncate is not None, console)
    if caution:
        console.print(f"Caution: {caution}", style="yellow", soft_wrap=True)
    for name, result in results.items():
        result.save(folder / name)
    console.print(f"Results: {folder}", soft_wrap=True)


def _rerank(opened: OpenRun, evaluator: Evaluator, plain: EvalResult, subject: str, console: Console) -> EvalResult:
    """Re-rank the first answers as validation says, print what that gives over the plain search, and return it."""
    assert isinstance(opened.config, EvaluateConfig)
    asked, embedder = opened.config, opened.embedder
    kind = descriptors(evaluator, embedder, asked)
    calibration = calibrate(evaluator, embedder, kind, asked.local)
    keep_calibration(opened, asked, evaluator, calibration, kind)
    local = evaluate_local(evaluator, embedder, kind, calibration, asked.subset)
    title = f"{subject}: the first {asked.local} answers re-ranked by matching {kind.name} against the plain search"
    console.print(difference_table(title, ("re-ranked", "plain"), compare(local.result, plain)), "")
    for told in (f"{local} {calibration.weigh()}", f"{calibration}."):
        console.print(told, soft_wrap=True, highlight=False)
    console.print()
    return local.result


def _print_differences(results: Mapping[str, EvalResult], refined: str, subject: str, console: Console) -> None:
    """Print what the model gains over each reference, and its refined answers over its plain search. refined: a name;
    empty for none."""
    for name in ("flatten", "pooled"):
        differences = compare(results["model"], results[name])
        console.print(difference_table(f"{subject}: model against {name}", ("model", name), differences), "")
    if refined:
        differences = compare(results[f"model_{refined}"], results["model"])
        title = f"{subject}: model refined by {refined} against its plain search"
        console.print(difference_table(title, ("refined", "plain"), differences), "")


def _print_described(result: EvalResult, validation: EvalResult | None, truncated: bool, console: Console) -> None:
    """Print what was scored, what tells known from new species, and answers at higher ranks."""
    facts = result.facts
    left_out = f"; {facts['excluded']} more have no other image of their species" if facts["excluded"] else ""
    console.print(
        f"{facts['queries']} queries in {facts['gallery']} images of {facts['species']} species{left_out}.",
        soft_wrap=True,
        highlight=False,
    )
    for sentence in rejection.describe() if (rejection := rejection_of(result)) else ():
        console.print(f"{sentence}.", soft_wrap=True, highlight=False)
    for sentence in describe_ranks(result, validation):
        console.print(f"{sentence}.", soft_wrap=True, highlight=False)
    if truncated:
        console.print(f"The model's first {facts['dimensions']} dimensions; the references have all of theirs.")
