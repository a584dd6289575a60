"""Weights between those before training and those after it."""

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor

from conspecific.evaluation import Evaluator
from conspecific.evaluation.soup import average_weights
from conspecific.evaluation.tables import plain_table
from conspecific.models import Embedder
from conspecific.types import EvalResult


def best_share(
    embedder: Embedder, start: Mapping[str, Tensor], shares: Sequence[float], evaluator: Evaluator, monitor: str
) -> tuple[float, EvalResult, Embedder]:
    """Go several shares of the way from the weights before training to those after it, and return the best.

    Training that makes the species it sees easy to tell apart forgets what would tell others apart; part of the way
    there is often better for those than any epoch (WiSE-FT, Wortsman et al. 2022). Validation alone chooses by
    `monitor`. Returns the share, its validation result and the embedder.
    """
    tried = []
    for share in shares:
        mixed = copy.deepcopy(embedder)
        mixed.load_state_dict(average_weights([start, embedder.state_dict()], [1 - share, share]))
        tried.append((share, evaluator.score({"model": mixed}, "val", f"Going {share:.0%} of the way")["model"], mixed))
    table = plain_table(f"Validation {monitor} on the way from before training to after it", ["share", monitor])
    for share, result, _ in tried:
        table.add_row(f"{share:.0%}", f"{result.metrics[monitor]:.3f}")
    evaluator.console.print(table, "")
    return max(tried, key=lambda found: found[1].metrics[monitor])
