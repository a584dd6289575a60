"""The judgement on a run: against the better reference, with advice where fine-tuning did not help."""

from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from conspecific.evaluation import Difference
from conspecific.metrics import Interval
from conspecific.runs.record import RunRecord, SelectedWeights
from conspecific.runs.verdict import verdict


def difference(metric: str, other: float, gain: float, half: float) -> Difference:
    interval = Interval(gain, gain - half, gain + half)
    return Difference(metric, other + gain, other, interval, interval, True, 0.01, 5, 3, 2)


def record(gain: float, protocol: str = "unseen", **selected: Any) -> RunRecord:
    """A run whose model gains over the pooled reference, the better one, plus or minus 0.02; 4 species of 10 images."""
    train = pl.DataFrame({"label": [letter for letter in "abcd" for _ in range(10)], "train": True})
    gains = {
        "flatten": (difference("recall@1", 0.8, gain, 0.02), difference("map@r", 0.3, gain + 0.2, 0.02)),
        "pooled": (difference("recall@1", 0.7, gain, 0.02), difference("map@r", 0.5, gain, 0.02)),
    }
    found = SimpleNamespace(
        config=SimpleNamespace(monitor="map@r", protocol=protocol),
        selection=SelectedWeights(**{"chosen_epoch": 3, **selected}),
        gains=gains,
        trained=train,
    )
    return cast(RunRecord, found)


@pytest.mark.parametrize(
    ("gain", "outcome", "begins"),
    [
        (0.05, "better", "Fine-tuning helped: map@r 0.500 -> 0.550, +0.050 (+0.030…+0.070) against the pooled"),
        (0.01, "no difference", "Fine-tuning made no difference that this test can show: map@r 0.500 -> 0.510"),
        (-0.05, "worse", "Fine-tuning did harm: map@r 0.500 -> 0.450, -0.050 (-0.070…-0.030) against the pooled"),
    ],
)
def test_a_run_is_judged_against_the_better_reference(gain: float, outcome: str, begins: str) -> None:
    found = verdict(record(gain))
    assert found is not None and (found.outcome, found.reference) == (outcome, "pooled")
    assert str(found).startswith(begins)
    assert ("What can help:" in str(found)) == (outcome != "better")


def test_a_head_without_training_is_named_as_that() -> None:
    found = verdict(record(0.05, chosen_epoch=0, whitening_strength=1.0))
    assert str(found).startswith("The fitted head alone, on the frozen backbone, helped: map@r 0.500 -> 0.550")


def test_advice_says_what_there_is_little_of() -> None:
    unseen, seen = verdict(record(0.0)), verdict(record(0.0, "seen"))
    assert unseen is not None and seen is not None
    assert unseen.advice == (
        "What can help: more images of each species (training has 10); more training species (there are 4); training "
        "on the species you search for, if you have images of them (protocol=seen)."
    )
    assert seen.advice == "What can help: more images of each species (training has 10)."


def test_a_run_that_kept_the_pooled_reference_says_so() -> None:
    found = verdict(record(0.0, chosen_epoch=0, pooled_reference=True))
    assert found is not None and found.outcome == "untrained"
    kept = "on validation, no trained weights were better than the pooled reference, which is kept."
    assert str(found).startswith(f"Fine-tuning did not help: {kept} What can help:")


def test_a_run_that_trained_nothing_is_not_judged() -> None:
    untrained = record(0.0)
    assert verdict(cast(RunRecord, SimpleNamespace(**{**vars(untrained), "selection": None}))) is None
