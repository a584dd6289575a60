"""final=true: after the test, a model of all images, in a folder that opens like a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import conspecific
from conspecific.errors import ConfigError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, read_splits
from conspecific.runs.verdict import verdict
from conspecific.training import selection

TrainTiny = Callable[..., RunRecord]


def test_the_final_model_is_trained_on_all_images_and_opens_like_a_run(
    tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "preferred", lambda untrained, made, results, metric: made[0])
    record = train_tiny(tmp_path / "run", "final=true", "trainer.max_epochs=1")
    plain = train_tiny(tmp_path / "plain", "trainer.max_epochs=1")
    run = record.directory
    assert run.weights.read_bytes() == plain.directory.weights.read_bytes(), "what was measured is the same"
    assert record.test["model"].metrics == plain.test["model"].metrics
    assert not plain.directory.final.config.exists()
    summary = json.loads(run.summary.read_text())
    assert summary["verdict"] == str(verdict(record)) and summary["outcome"] in ("better", "worse", "no difference")
    images = read_splits(run.final)
    assert images["train"].all() and not images["test_query"].any()
    assert run.final.weights.read_bytes() != run.weights.read_bytes()
    embedder = conspecific.load(run.final.path)
    assert embedder.embed([Image.new("RGB", (64, 48))]).shape == (1, 16)
    assert run.final.within_species.is_file() and run.within_species.is_file()


def test_the_final_model_of_a_run_that_keeps_the_pooled_reference_is_that(
    tmp_path: Path, train_tiny: TrainTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "preferred", lambda untrained, made, results, metric: untrained[0])
    record = train_tiny(tmp_path, "final=true", "trainer.max_epochs=1", "model.head=whitened", "model.dimensions=null")
    assert record.selection is not None and record.selection.pooled_reference
    embedder = conspecific.load(RunDirectory(tmp_path).final.path)
    assert embedder.embed([Image.new("RGB", (64, 48))]).shape == (1, embedder.backbone.channels)


def test_a_final_model_needs_training(tmp_path: Path, train_tiny: TrainTiny) -> None:
    with pytest.raises(ConfigError, match=r"final=true trains on all images, and trainer\.max_epochs=0 on none"):
        train_tiny(tmp_path, "final=true", "trainer.max_epochs=0")
