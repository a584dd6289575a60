"""The choice among all weights that training leaves: epochs, WiSE-FT interpolations, refitted whitening."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.evaluation.tables import plain_table
from conspecific.models import Embedder
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights, read_epochs
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.recipe.refit_whitening import can_refit, refit_whitening
from conspecific.training.recipe.wise_ft import interpolate
from conspecific.training.resume import load_checkpoint
from conspecific.types import EvalResult


class Selection(NamedTuple):
    """A candidate and its validation result; `select` returns the best.

    epoch: counted from 1. wise_ft_alpha: 1 for the weights of the epoch itself, below 1 for an interpolation between
    the weights before training (0) and the epoch's. whitening_refitted: whether the whitened head was fitted again
    after training.
    """

    embedder: Embedder
    validation: EvalResult
    epoch: int
    wise_ft_alpha: float = 1.0
    whitening_refitted: bool = False

    @property
    def weights(self) -> SelectedWeights:
        """Which weights these are, for the record of the run."""
        return SelectedWeights(self.epoch, self.wise_ft_alpha, self.whitening_refitted)


def select(
    module: FineTuner,
    best: Path,
    config: TrainConfig,
    evaluator: Evaluator,
    run: RunDirectory,
) -> Selection:
    """Return the candidate with the best monitored metric on validation.

    Candidates are the best epoch, the last epoch, the last epoch interpolated with the weights before training at each
    of `recipe.wise_ft_alphas`, and each of these with its whitening refitted if `recipe.refit_whitening` asks for it.
    module: as training left it; the weights of the best epoch are loaded into it. best: the checkpoint of that epoch.
    """
    last = read_epochs(run)[-1].epoch
    ended = copy.deepcopy(module.eval_embedder)
    epoch = load_checkpoint(module, best)["epoch"] + 1
    candidates = [_of_epoch(module.eval_embedder, epoch, evaluator, run)]
    if epoch != last:
        candidates.append(_of_epoch(ended, last, evaluator, run))
    if alphas := config.recipe.wise_ft_alphas:
        start = load_file(run.start)
        for alpha in alphas:
            mixed = interpolate(ended, start, alpha)
            result = _score(mixed, last, evaluator, f"WiSE-FT, alpha {alpha:g}")
            candidates.append(Selection(mixed, result, last, wise_ft_alpha=alpha))
    refit = config.recipe.refit_whitening is not False and can_refit(ended)
    refitted = [_refitted(candidate, evaluator) for candidate in candidates] if refit else []
    _print(candidates, refitted, config.monitor, evaluator)
    return max(candidates + refitted, key=lambda candidate: candidate.validation.metrics[config.monitor])


def _of_epoch(embedder: Embedder, epoch: int, evaluator: Evaluator, run: RunDirectory) -> Selection:
    """An epoch with the validation result that training saved; scored again where that result is of another epoch."""
    stem = run.results / "val_model"
    if stem.with_suffix(".json").is_file() and (kept := EvalResult.load(stem)).facts["epoch"] == epoch:
        return Selection(embedder, kept, epoch)
    return Selection(embedder, _score(embedder, epoch, evaluator, f"Scoring epoch {epoch}"), epoch)


def _refitted(candidate: Selection, evaluator: Evaluator) -> Selection:
    embedder = refit_whitening(candidate.embedder, evaluator)
    result = _score(embedder, candidate.epoch, evaluator, "Scoring the refitted whitening")
    return candidate._replace(embedder=embedder, validation=result, whitening_refitted=True)


def _score(embedder: Embedder, epoch: int, evaluator: Evaluator, title: str) -> EvalResult:
    scored = evaluator.score({"model": embedder}, "val", title)["model"]
    return replace(scored, facts={**scored.facts, "epoch": epoch})


def _print(candidates: Sequence[Selection], refitted: Sequence[Selection], monitor: str, evaluator: Evaluator) -> None:
    """Print the validation metric of every candidate, where there are several."""
    if len(candidates) + len(refitted) == 1:
        return
    columns = [monitor, "whitening refitted"] if refitted else [monitor]
    table = plain_table("Candidates on validation", ["weights", *columns])
    for number, candidate in enumerate(candidates):
        name, alpha = f"epoch {candidate.epoch}", candidate.wise_ft_alpha
        results = [candidate, refitted[number]] if refitted else [candidate]
        metrics = (f"{result.validation.metrics[monitor]:.3f}" for result in results)
        table.add_row(name if alpha == 1 else f"{name}, WiSE-FT alpha {alpha:g}", *metrics)
    evaluator.console.print(table, "")
