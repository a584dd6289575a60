"""A trial is told every epoch's validation score, and stops where its sweep says so."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conspecific.errors import ConfigError
from conspecific.training.pruning import Pruning, watched


class Judge:
    """A trial that gives up from an epoch on."""

    def __init__(self, gives_up_at: int) -> None:
        self.gives_up_at = gives_up_at
        self.reported: list[tuple[int, float]] = []

    def report(self, value: float, step: int) -> None:
        self.reported.append((step, value))

    def should_prune(self) -> bool:
        return len(self.reported) >= self.gives_up_at


def trainer(epoch: int, score: float = 0.5) -> Any:
    metrics = {"val/map@r": torch.tensor(score), "val/mrr": torch.tensor(0.9)}
    return SimpleNamespace(callback_metrics=metrics, current_epoch=epoch - 1, max_epochs=3, should_stop=False)


def test_every_epoch_is_reported_until_the_trial_is_given_up() -> None:
    judge, callback = Judge(gives_up_at=2), Pruning("val/map@r")
    first, second = trainer(1, 0.25), trainer(2, 0.125)
    with watched(judge) as watch:
        callback.on_train_epoch_end(first, None)  # type: ignore[arg-type]
        assert watch.pruned_after is None and not first.should_stop
        callback.on_train_epoch_end(second, None)  # type: ignore[arg-type]
    assert judge.reported == [(1, 0.25), (2, 0.125)]
    assert second.should_stop
    assert watch.pruned_after == 2


def test_a_trial_that_has_all_its_epochs_is_whole() -> None:
    last = trainer(3)
    with watched(Judge(gives_up_at=1)) as watch:
        Pruning("val/map@r").on_train_epoch_end(last, None)  # type: ignore[arg-type]
    assert watch.pruned_after is None
    assert not last.should_stop


def test_a_run_outside_a_sweep_is_left_alone() -> None:
    alone = trainer(1)
    Pruning("val/gone").on_train_epoch_end(alone, None)  # type: ignore[arg-type]
    assert not alone.should_stop


def test_a_metric_that_is_not_logged_is_named() -> None:
    with watched(Judge(1)), pytest.raises(ConfigError, match=r"val/map@k is not logged. Did you mean val/map@r"):
        Pruning("val/map@k").on_train_epoch_end(trainer(1), None)  # type: ignore[arg-type]
