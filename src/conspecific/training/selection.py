"""What is kept once training is over: of all that is tried, what validation finds best."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.evaluation.tables import plain_table
from conspecific.models import Embedder
from conspecific.models.heads import Whitened
from conspecific.runs.directory import RunDirectory
from conspecific.runs.soup import average_weights
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.resume import load_checkpoint
from conspecific.types import EvalResult


class Chosen(NamedTuple):
    """Weights, their validation result, and what they are: a share of the way to an epoch, whitened again or not."""

    embedder: Embedder
    validation: EvalResult
    epoch: int
    share: float = 1.0
    whitening_refitted: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """For the summary."""
        return {"chosen_epoch": self.epoch, "wise_ft_alpha": self.share, "whitening_refitted": self.whitening_refitted}


def choose(
    module: FineTuner,
    best: Path,
    config: TrainConfig,
    evaluator: Evaluator,
    run: RunDirectory,
) -> Chosen:
    """Choose by the monitored validation metric among the best epoch, the last, and `wise_ft_alphas` of the way to it.

    With `refit_whitening`, each of them is tried with its head whitened again as well. module: as training left it.
    best: the checkpoint of the best epoch.
    """
    recipe, last = config.recipe, run.read_epochs()[-1]["epoch"]
    refit_whitening = (
        recipe.refit_whitening and isinstance(module.embedder.head, Whitened) and module.embedder.search_head
    )
    ended, shares = copy.deepcopy(module.eval_embedder), recipe.wise_ft_alphas
    epoch = load_checkpoint(module, best)["epoch"] + 1
    tried = [Chosen(module.eval_embedder, _validation_of(module.eval_embedder, epoch, evaluator, run), epoch)]
    if epoch != last:
        tried.append(Chosen(ended, _validation_of(ended, last, evaluator, run), last))
    if shares:
        tried += _on_the_way(ended, load_file(run.start), last, shares, evaluator)
    again = [_whitened_again(found, evaluator) for found in tried] if refit_whitening else []
    _print(tried, again, config.monitor, evaluator)
    return max(tried + again, key=lambda found: found.validation.metrics[config.monitor])


def _print(tried: Sequence[Chosen], again: Sequence[Chosen], monitor: str, evaluator: Evaluator) -> None:
    """What was tried beside the epochs, where anything was."""
    if len(tried) + len(again) == 1:
        return
    columns = [monitor, "whitened again"] if again else [monitor]
    table = plain_table("Validation, once training is over", ["weights", *columns])
    for number, found in enumerate(tried):
        name = f"epoch {found.epoch}" if found.share == 1 else f"{found.share:.0%} of the way to epoch {found.epoch}"
        results = [found, again[number]] if again else [found]
        table.add_row(name, *(f"{result.validation.metrics[monitor]:.3f}" for result in results))
    evaluator.console.print(table, "")


def _on_the_way(
    embedder: Embedder, start: Mapping[str, Tensor], epoch: int, shares: Sequence[float], evaluator: Evaluator
) -> list[Chosen]:
    """Go several shares of the way from the weights before training to those after it.

    Training that makes the species it sees easy to tell apart forgets what would tell others apart; part of the way
    is often better for those than any epoch (WiSE-FT, Wortsman et al. 2022).
    """
    tried = []
    for share in shares:
        mixed = copy.deepcopy(embedder)
        mixed.load_state_dict(average_weights([start, embedder.state_dict()], [1 - share, share]))
        tried.append(Chosen(mixed, _score(mixed, epoch, evaluator, f"Going {share:.0%} of the way"), epoch, share))
    return tried


def _whitened_again(chosen: Chosen, evaluator: Evaluator) -> Chosen:
    """Whiten a trained head by what it makes of the training images now."""
    again = copy.deepcopy(chosen.embedder)
    again.normalize = False
    training = evaluator.embed_training(again, "Looking at the training images")
    again.normalize = chosen.embedder.normalize
    assert isinstance(again.head, Whitened)
    again.head.fit_again(torch.from_numpy(training.vectors), torch.from_numpy(training.labels))
    return chosen._replace(
        embedder=again, validation=_score(again, chosen.epoch, evaluator, "Whitening again"), whitening_refitted=True
    )


def _validation_of(embedder: Embedder, epoch: int, evaluator: Evaluator, run: RunDirectory) -> EvalResult:
    """The epoch's validation result as the callback kept it, or scored anew where it is lost or of another."""
    stem = run.results / "val_model"
    if stem.with_suffix(".json").is_file() and (kept := EvalResult.load(stem)).facts["epoch"] == epoch:
        return kept
    return _score(embedder, epoch, evaluator, f"Scoring epoch {epoch} again")


def _score(embedder: Embedder, epoch: int, evaluator: Evaluator, title: str) -> EvalResult:
    scored = evaluator.score({"model": embedder}, "val", title)["model"]
    return replace(scored, facts={**scored.facts, "epoch": epoch})
