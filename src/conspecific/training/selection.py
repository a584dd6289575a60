"""The choice of what a run keeps: among all trained weights, and what was there before training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator, joined
from conspecific.evaluation.compare import paired_values, resampled_together
from conspecific.metrics import standard_error
from conspecific.runs.record import SelectedWeights
from conspecific.tables import plain_table
from conspecific.training.candidates import Trained, candidates_of, refitted
from conspecific.training.recipe.class_probabilities import with_class_probabilities
from conspecific.types import EvalResult

GAIN = 0.03  # of what training makes over the pooled reference, in map@r on subsets of birds100 (docs/log.md)
Results = dict[SelectedWeights, EvalResult]


class Choice(NamedTuple):
    """What is kept: the weights, their validation result over all divisions, and the metrics before training.

    start: of the embedder that training started from, on the validation images of the run itself.
    """

    weights: SelectedWeights
    validation: EvalResult
    start: Mapping[str, float]


class Division(NamedTuple):
    """What was trained on the training images of an evaluator, to be scored on its validation images."""

    trained: Trained
    evaluator: Evaluator


def select(divisions: Sequence[Division], config: TrainConfig, own: Division | None = None) -> Choice:
    """Return which weights to keep. own: the division of the run itself, the first unless it is named.

    Of what training made, it is that nearest the start whose score is within one standard error of the best, with its
    whitening refitted where `recipe.refit_whitening` asks for it. Under `protocol=unseen` the refitted one counts as
    nearer to the start, because it undoes a preference for the training species that the head has learnt; else as
    further. `preferred` then compares it with what was there before. Class probabilities are added to what is kept
    where `recipe.class_probabilities` allows them and they gain more than one standard error.
    """
    trained = divisions[0].trained
    results = _scored(list(candidates_of(trained, config)), divisions)
    made = [kept for kept in results if kept.is_trained]
    untrained = [kept for kept in results if not kept.is_trained]
    if made:
        made = [_nearest(made, results, config.monitor)]
        if again := refitted(made[0], trained, config):
            results |= _scored([again], divisions)
            pair = [again, *made] if config.protocol == "unseen" else [*made, again]
            made = [_nearest(pair, results, config.monitor)]
    kept = preferred(untrained, made, results, config.monitor)
    if more := with_class_probabilities(kept, config):
        results |= _scored([more], divisions)
        kept = _nearest([kept, more], results, config.monitor)
    _print(results, kept, config.monitor, divisions)
    start = SelectedWeights(0)
    before = results if len(divisions) == 1 else _scored([start], [own or divisions[0]])
    return Choice(kept, results[kept], before[start].metrics)


def preferred(
    untrained: Sequence[SelectedWeights], made: Sequence[SelectedWeights], results: Results, metric: str
) -> SelectedWeights:
    """Return the weights to keep of those without training, nearest the start first, and of the one that training made.

    That one is kept where it is within one standard error of the best, and its gain over the start is expected to be
    positive: the mean of the posterior of a normal prior, whose mean and standard deviation are both GAIN, and of what
    these images show. Else it is the candidate nearest the start that is within one standard error of the best: the
    rule of Breiman et al. 1984 (section 3.4.3), the simplest model whose score is as good as the best, as far as these
    images can tell.
    """
    for kept in made:
        behind, noise = _behind(results[untrained[0]], results[kept], metric)
        everything = [results[each] for each in (*untrained, *made)]
        if behind * GAIN <= noise**2 and within_noise(results[kept], everything, metric):
            return kept
    return _nearest([*untrained, *made], results, metric)


def _nearest(order: Sequence[SelectedWeights], results: Results, metric: str) -> SelectedWeights:
    """Return the first of some candidates that is within one standard error of the best of them."""
    found = [results[kept] for kept in order]
    return next(kept for kept in order if within_noise(results[kept], found, metric))


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


def within_noise(result: EvalResult, others: Sequence[EvalResult], metric: str) -> bool:
    """Return whether a result is at most one standard error below the best of several.

    The difference is paired: over queries, or over whole species under `protocol=unseen`, which are new to the encoder.
    With fewer than two of these nothing can be told, and every result is.
    """
    behind, noise = _behind(max(others, key=lambda other: other.metrics[metric]), result, metric)
    return behind <= noise


def _behind(best: EvalResult, result: EvalResult, metric: str) -> tuple[float, float]:
    """Return how far a result is below the best, and the standard error of that difference."""
    queries, mine, theirs = paired_values(best.per_query, result.per_query, [metric])
    over_species = best.facts.get("protocol") == "unseen"
    try:
        [noise] = standard_error(mine - theirs, resampled_together(queries, over_species))
    except ValueError:  # one query or species
        noise = np.inf
    return float((mine - theirs).mean()), float(noise)


def _print(results: Results, chosen: SelectedWeights, monitor: str, divisions: Sequence[Division]) -> None:
    """Print the validation metric of every candidate, how far it is behind the best, and the standard error of that."""
    best = max(results.values(), key=lambda result: result.metrics[monitor])
    where = "validation" if len(divisions) == 1 else f"{len(divisions)} folds"
    table = plain_table(f"Candidates on {where}", ["weights", monitor, "behind", "error"])
    table.columns[0].no_wrap = False  # rather than cut numbers
    for kept, result in results.items():
        behind, noise = _behind(best, result, monitor)
        told = (f"{behind:.3f}", f"{noise:.3f}") if result is not best else ("", "")
        name, style = (f"*{kept}", "bold") if kept == chosen else (str(kept), None)
        table.add_row(name, f"{result.metrics[monitor]:.3f}", *told, style=style)
    console = divisions[0].evaluator.console
    console.print(table)
    reason = "expected to be better than the start, and" if chosen.is_trained else "nearest the start of those that are"
    console.print(f"* Kept: {reason} no further behind the best than the standard error.", "")
