"""What is printed while a run trains."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars
import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping
from rich.console import Console

from conspecific.evaluation import compare
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, append_epoch
from conspecific.training.epoch_record import EpochRecord
from conspecific.training.epoch_table import EpochTable
from conspecific.training.pruning import Pruning
from conspecific.training.retrieval_callback import RetrievalCallback
from conspecific.types import EvalResult


def result_of(values: list[float]) -> EvalResult:
    """A result of four queries of two species."""
    queries = polars.DataFrame({"path": list("abcd"), "label": ["robin", "robin", "wren", "wren"], "map@r": values})
    return EvalResult({"map@r": sum(values) / 4}, {}, queries, {"species": 2, "protocol": "seen"})


FLATTEN, POOLED = result_of([0.1, 0.1, 0.2, 0.2]), result_of([0.3, 0.2, 0.3, 0.4])
SCORES = [[0.3, 0.4, 0.4, 0.5], [0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.5, 0.4]]


def printed(
    folder: Path,
    console: Console,
    references: Mapping[str, EvalResult] | None = None,
    *callbacks: Any,
    max_epochs: int = 3,
) -> str:
    """Have three epochs printed, of 60 seconds each."""
    retrieval = RetrievalCallback([], "map@r")
    record = EpochRecord(retrieval, FLATTEN, RunDirectory(folder))
    table = EpochTable(record, references or {"flatten": FLATTEN, "pooled": POOLED}, console)
    trainer: Any = SimpleNamespace(max_epochs=max_epochs, callbacks=list(callbacks))
    table.on_train_start(trainer, None)  # type: ignore[arg-type]
    for number, values in enumerate(SCORES, start=1):
        retrieval.result = result_of(values)
        record.gains, record.rates = compare(retrieval.result, FLATTEN), {"backbone": 1e-4, "head": 5e-4}
        record.last = Epoch(number, 1 / number, retrieval.result.metrics, {}, 60.0, record.rates)
        append_epoch(record.run, record.last)
        table.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    table.on_train_end(trainer, None)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_in_a_file_each_epoch_is_a_line(tmp_path: Path) -> None:
    lines = printed(tmp_path, Console(file=io.StringIO(), width=40)).splitlines()
    assert len(lines) == 3, "nothing is wrapped"
    assert lines[0].startswith("Epoch 1 of 3  loss 1.000  map@r 0.400  gain over pooled +0.100 (")
    assert lines[0].endswith("lr 5e-04  1:00, 2:00 left  best so far")
    assert lines[1].endswith("1:00, 1:00 left  best so far")
    assert lines[2].endswith("1:00, 0:00 left")


def test_the_gain_is_over_the_better_reference(tmp_path: Path) -> None:
    for better in ("flatten", "pooled"):
        references = {"flatten": FLATTEN, "pooled": POOLED if better == "pooled" else result_of([0.0] * 4)}
        line = printed(tmp_path, Console(file=io.StringIO(), width=40), references).splitlines()[1]
        [gain] = compare(result_of(SCORES[1]), references[better])
        low, high = gain.interval.low, gain.interval.high
        assert f"gain over {better} {gain.interval.mean:+.3f} ({low:+.3f}…{high:+.3f})" in line


def test_on_a_terminal_the_table_is_live_and_whole_at_the_end(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80, height=12, force_terminal=True, color_system=None)
    drawn = printed(tmp_path, console)
    title = "Validation after each epoch; gain in map@r over the"
    assert drawn.count(title) >= 4, "after each epoch and once at the end"
    live, _, last = drawn.rpartition(title)
    rows = [line.split()[:2] for line in last.splitlines()[4:7]]
    assert rows == [["1", "1.000"], ["*2", "0.500"], ["3", "0.333"]]
    shown = live.rpartition(title)[2]
    assert "*2 " in shown and "\n    1 " not in shown, "the live table keeps the best row and the last ones that fit"


def early_stopping() -> EarlyStopping:
    callback = EarlyStopping("val/map@r", mode="max", patience=1)
    for value in (0.5, 0.4):
        stops, callback.stopping_reason_message = callback._evaluate_stopping_criteria(torch.tensor(value))
    assert stops
    return callback


def pruned() -> Pruning:
    callback = Pruning("val/map@r")
    callback.has_pruned = True
    return callback


@pytest.mark.parametrize(
    ("callbacks", "reason"),
    [
        ([early_stopping()], "val/map@r has not improved for 1 epochs (early stopping)"),
        ([pruned()], "the pruner of the sweep stopped this trial"),
        ([], "a limit of the trainer was reached"),
    ],
)
def test_training_that_ends_early_says_when_and_why(callbacks: list[Any], reason: str, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=40)
    last = printed(tmp_path, console, None, *callbacks, max_epochs=9).splitlines()[-1]
    assert last == f"Training stopped after epoch 3 of 9: {reason}. The best is epoch 2."
