"""The choice of what a run keeps: among all trained weights, and what was there before training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator, joined
from conspecific.evaluation.compare import paired_values
from conspecific.evaluation.tables import plain_table
from conspecific.metrics import standard_error
from conspecific.runs.record import SelectedWeights
from conspecific.training.candidates import Trained, candidates_of, refitted
from conspecific.types import EvalResult

Results = dict[SelectedWeights, EvalResult]


class Division(NamedTuple):
    """What was trained on the training images of an evaluator, to be scored on its validation images."""

    trained: Trained
    evaluator: Evaluator


def select(divisions: Sequence[Division], config: TrainConfig) -> tuple[SelectedWeights, EvalResult]:
    """Return which weights to keep, and their validation result over all divisions.

    It is the candidate nearest the start whose validation score is within one standard error of the best. Where
    `recipe.refit_whitening` asks for it, the whitening of the candidate found is refitted. Under `protocol=unseen` this
    counts as nearer to the start, because it undoes a preference for the training species that the head has learnt;
    else as further. The rule is that of Breiman et al. 1984 (section 3.4.3): the simplest model whose score is as good
    as the best, as far as these validation images can tell.
    """
    trained = divisions[0].trained
    results = _scored(list(candidates_of(trained, config)), divisions)
    found = _chosen(results, config.monitor)
    if again := refitted(found, trained, config):
        results |= _scored([again], divisions)
        pair = [again, found] if config.protocol == "unseen" else [found, again]
        found = _chosen({kept: results[kept] for kept in pair}, config.monitor)
    _print(results, found, config.monitor, divisions)
    return found, results[found]


def _chosen(results: Results, metric: str) -> SelectedWeights:
    return list(results)[within_noise(list(results.values()), metric)]


def _scored(candidates: Sequence[SelectedWeights], divisions: Sequence[Division]) -> Results:
    """Score candidates on the validation images of every division: each trained one by itself, the others together."""
    parts = [_scores_of(candidates, *division) for division in divisions]
    return {kept: joined([part[kept] for part in parts]) for kept in candidates}


def _scores_of(candidates: Sequence[SelectedWeights], trained: Trained, evaluator: Evaluator) -> Results:
    evaluator = evaluator.encoded_once(trained.ended.backbone, "val")
    found: Results = {}
    untrained = [kept for kept in candidates if not kept.is_trained]
    for group in [untrained, *([kept] for kept in candidates if kept.is_trained)]:
        embedders = {str(kept): trained.embedder(kept, evaluator) for kept in group}
        title = f"Scoring {group[0]}" if len(group) == 1 else "Scoring what was there before training"
        scores: Mapping[str, EvalResult] = evaluator.score(embedders, "val", title) if group else {}
        for kept in group:
            result = scores[str(kept)]
            found[kept] = replace(result, facts={**result.facts, "name": "model", "epoch": kept.chosen_epoch})
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


def _print(results: Results, chosen: SelectedWeights, monitor: str, divisions: Sequence[Division]) -> None:
    """Print the validation metric of every candidate, how far it is behind the best, and the standard error of that."""
    best = max(results.values(), key=lambda result: result.metrics[monitor])
    where = "validation" if len(divisions) == 1 else f"{len(divisions)} folds"
    table = plain_table(f"Candidates on {where}", ["weights", monitor, "behind", "error"])
    for kept, result in results.items():
        behind, noise = _behind(best, result, monitor)
        told = (f"{behind:.3f}", f"{noise:.3f}") if result is not best else ("", "")
        name, style = (f"*{kept}", "bold") if kept == chosen else (str(kept), None)
        table.add_row(name, f"{result.metrics[monitor]:.3f}", *told, style=style)
    console = divisions[0].evaluator.console
    console.print(table)
    console.print("* Kept: nearest the start of those that are no further behind the best than the standard error.", "")
