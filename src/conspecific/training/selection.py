"""The choice of what a run keeps: among all trained weights, and what was there before training."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.evaluation.compare import paired_values
from conspecific.evaluation.tables import plain_table
from conspecific.metrics import standard_error
from conspecific.models import Embedder, pooled_reference
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights, read_epochs
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.recipe.initialization import STRENGTHS
from conspecific.training.recipe.refit_whitening import can_refit, refit_whitening
from conspecific.training.recipe.wise_ft import interpolate
from conspecific.training.resume import load_checkpoint
from conspecific.types import EvalResult


class Selection(NamedTuple):
    """A candidate and its validation result; `select` returns one of them. weights: which they are."""

    embedder: Embedder
    validation: EvalResult
    weights: SelectedWeights


def select(candidates: Sequence[Selection], config: TrainConfig, evaluator: Evaluator) -> Selection:
    """Return the candidate nearest the start whose validation score is within one standard error of the best.

    candidates: see `candidates_of`. Where `recipe.refit_whitening` asks for it, the whitening of the candidate found is
    refitted. Under `protocol=unseen` this counts as nearer to the start, because it undoes a preference for the
    training species that the head has learnt; else as further. The rule is that of Breiman et al. 1984 (section 3.4.3):
    the simplest model whose score is as good as the best, as far as this validation split can tell.
    """
    found = candidates[within_noise([candidate.validation for candidate in candidates], config.monitor)]
    shown = [*candidates]
    if config.recipe.refit_whitening is not False and can_refit(found.embedder) and found.weights.is_trained:
        refitted = _refitted(found, evaluator)
        shown.append(refitted)
        pair = [refitted, found] if config.protocol == "unseen" else [found, refitted]
        found = pair[within_noise([candidate.validation for candidate in pair], config.monitor)]
    _print(shown, found, config.monitor, evaluator)
    return found


def within_noise(results: Sequence[EvalResult], metric: str) -> int:
    """Return the place of the first result that is at most one standard error below the best.

    The difference is paired: over queries, or over whole species under `protocol=unseen`, which are new to the encoder.
    With fewer than two of these nothing can be told, and the first result is returned.
    """
    best = max(results, key=lambda result: result.metrics[metric])
    for place, result in enumerate(results):
        behind, noise = _behind(best, result, metric)
        if behind <= noise:
            return place
    raise AssertionError("the best is not behind itself")


def _behind(best: EvalResult, result: EvalResult, metric: str) -> tuple[float, float]:
    """Return how far a result is below the best, and the standard error of that difference."""
    queries, mine, theirs = paired_values(best.per_query, result.per_query, [metric])
    over_species = best.facts.get("protocol") == "unseen"
    groups = queries["label"].rank("dense").to_numpy().astype(np.int64) if over_species else None
    try:
        [noise] = standard_error(mine - theirs, groups)
    except ValueError:  # one query or species
        noise = np.inf
    return float((mine - theirs).mean()), float(noise)


def candidates_of(
    module: FineTuner,
    best: Path,
    config: TrainConfig,
    evaluator: Evaluator,
    references: Mapping[str, EvalResult],
    run: RunDirectory,
) -> list[Selection]:
    """Return the candidates, those nearest the start first.

    They are the pooled reference; the embedder before training, with whitened heads of several strengths and with its
    own; the last epoch interpolated with it at each of `recipe.wise_ft_alphas`; the best and the last epoch.

    module: as training left it; the weights of the best epoch are loaded into it. best: the checkpoint of that epoch.
    references: results on validation by name.
    """
    last = read_epochs(run)[-1].epoch
    ended = copy.deepcopy(module.eval_embedder)
    epoch = load_checkpoint(module, best)["epoch"] + 1
    start = load_file(run.start)
    found = list(_untrained(ended, start, config, evaluator, references, run))
    for alpha in sorted(config.recipe.wise_ft_alphas):
        mixed, weights = interpolate(ended, start, alpha), SelectedWeights(last, alpha)
        found.append(Selection(mixed, _score(mixed, weights, evaluator), weights))
    found.append(_of_epoch(module.eval_embedder, epoch, evaluator, run))
    if epoch != last:
        found.append(_of_epoch(ended, last, evaluator, run))
    return found


def _untrained(
    ended: Embedder,
    start: Mapping[str, Tensor],
    config: TrainConfig,
    evaluator: Evaluator,
    references: Mapping[str, EvalResult],
    run: RunDirectory,
) -> Iterator[Selection]:
    """Yield the pooled reference and the embedder before training with each of its heads, all on one backbone."""
    before = copy.deepcopy(ended)
    before.load_state_dict(start)
    if config.model.get("dimensions") is None and not config.recipe.matryoshka:  # else its dimensions are not as asked
        weights = SelectedWeights(0, pooled_reference=True)
        yield Selection(pooled_reference(before.backbone), _named(references["pooled"], weights), weights)
    embedders = {}
    heads = load_file(run.untrained_heads) if run.untrained_heads.is_file() else {}
    for place in sorted({name.partition(".")[0] for name in heads}):
        head = copy.deepcopy(before.head)
        own = {name.partition(".")[2]: tensor for name, tensor in heads.items() if name.startswith(f"{place}.")}
        head.load_state_dict(own)
        embedders[SelectedWeights(0, whitening_strength=STRENGTHS[int(place)])] = Embedder(
            before.backbone, before.pooling, head, before.normalize, before.search_head
        )
    embedders[SelectedWeights(0)] = before
    title = "Scoring what was there before training"
    results = evaluator.score({str(weights): embedder for weights, embedder in embedders.items()}, "val", title)
    for weights, embedder in embedders.items():
        yield Selection(embedder, _named(results[str(weights)], weights), weights)


def _of_epoch(embedder: Embedder, epoch: int, evaluator: Evaluator, run: RunDirectory) -> Selection:
    """An epoch with the validation result that training saved; scored again where that result is of another epoch."""
    weights, stem = SelectedWeights(epoch), run.results / "val_model"
    if stem.with_suffix(".json").is_file() and (kept := EvalResult.load(stem)).facts["epoch"] == epoch:
        return Selection(embedder, kept, weights)
    return Selection(embedder, _score(embedder, weights, evaluator), weights)


def _refitted(candidate: Selection, evaluator: Evaluator) -> Selection:
    embedder = refit_whitening(candidate.embedder, evaluator)
    weights = replace(candidate.weights, whitening_refitted=True)
    return Selection(embedder, _score(embedder, weights, evaluator), weights)


def _score(embedder: Embedder, weights: SelectedWeights, evaluator: Evaluator) -> EvalResult:
    return _named(evaluator.score({"model": embedder}, "val", f"Scoring {weights}")["model"], weights)


def _named(result: EvalResult, weights: SelectedWeights) -> EvalResult:
    """Return a validation result as that of the run's model."""
    return replace(result, facts={**result.facts, "name": "model", "epoch": weights.chosen_epoch})


def _print(candidates: Sequence[Selection], selected: Selection, monitor: str, evaluator: Evaluator) -> None:
    """Print the validation metric of every candidate, how far it is behind the best, and the standard error of that."""
    best = max((candidate.validation for candidate in candidates), key=lambda result: result.metrics[monitor])
    table = plain_table("Candidates on validation", ["weights", monitor, "behind", "error"])
    for candidate in candidates:
        behind, noise = _behind(best, candidate.validation, monitor)
        told = (f"{behind:.3f}", f"{noise:.3f}") if candidate.validation is not best else ("", "")
        name = f"*{candidate.weights}" if candidate is selected else str(candidate.weights)
        style = "bold" if candidate is selected else None
        table.add_row(name, f"{candidate.validation.metrics[monitor]:.3f}", *told, style=style)
    evaluator.console.print(table)
    evaluator.console.print(
        "* Kept: nearest the start of those that are no further behind the best than the standard error.", ""
    )
