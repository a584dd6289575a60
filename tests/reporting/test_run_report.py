"""The report of a run is written from its directory."""

from dataclasses import replace

import pytest

from conspecific.errors import RunError
from conspecific.reporting.run.details import details
from conspecific.reporting.run.learning import learning, validation_table
from conspecific.reporting.run.report import report_run
from conspecific.reporting.run.subject import Subject
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights, append_epoch, finish_record, start_record

from .conftest import MakeLeaks
from .subjects import MakeSubject, with_leak_policy

START = {"map@r": 0.15, "recall@1": 0.35}
ORIGIN = "BioCLIP 2, published by Imageomics, licence: MIT"


def save(run: Subject, selection: SelectedWeights | None) -> RunDirectory:
    """Write the files of a run as training does."""
    record = run.record
    start_record(record.directory, with_leak_policy(run, "drop"), ["seed=1"], "0")
    for epoch in record.epochs:
        append_epoch(record.directory, epoch)
    unreadable = "Species_A/9.jpg (missing)", "Species_A/8.jpg (not an image)"
    counts = replace(record.counts, unreadable=unreadable, corrections="2 labels changed, 0 images left out")
    finish_record(record.directory, record.validation, record.test, selection, counts, record.cost, START, ORIGIN)
    return record.directory


def test_the_report_shows_the_files_of_the_run(make_run: MakeSubject, make_leaks: MakeLeaks) -> None:
    run = make_run()
    directory = save(run, SelectedWeights(3, 0.5, True))
    make_leaks(("Species_A/0.jpg", "Species_A/1.jpg", {})).save(directory.leaks)
    shown = report_run(directory)
    assert directory.report.is_file() and (directory.path / "images").is_dir()
    assert dict(shown.record.gains) == dict(run.record.gains)
    assert [encoder.name for encoder in shown.encoders] == ["Baseline", "Pooled reference", "Fine-tuned"]
    assert shown.record.leaks is not None and shown.record.leaks.pairs.height == 1 and shown.leaked == 0
    assert shown.selected_epoch is None
    values = details(shown)
    assert values["facts"]["Pretrained weights"] == ORIGIN
    assert values["facts"]["Epochs"] == "4, selected: epoch 3, WiSE-FT alpha 0.5, whitening refitted"
    skipped = "2, left out (data.on_bad=skip): Species_A/9.jpg (missing), Species_A/8.jpg (not an image)"
    assert values["facts"]["Corrections"] == "2 labels changed, 0 images left out"
    assert values["facts"]["Unreadable images"] == skipped and "Species_A/9.jpg" in directory.report.read_text()
    assert values["command"] == "conspecific train seed=1" and "leaks: drop" in values["config"]


def test_a_run_without_training(make_run: MakeSubject) -> None:
    run = make_run(trained=False)
    shown = report_run(save(run, None))
    assert not shown.is_trained and shown.record.leaks is None and shown.over_pooled == ()
    assert shown.best.name == "Pooled reference"
    assert shown.best.result.per_query.equals(run.best.result.per_query)
    assert details(shown)["facts"]["Epochs"] == "0, selected: none"


def test_the_gain_of_every_epoch_survives_the_files(make_run: MakeSubject) -> None:
    shown = report_run(save(make_run(), SelectedWeights(4, 1.0, False)))
    columns, rows = validation_table(shown)
    assert columns[-1] == "map@r, gain"
    assert [row.name for row in rows if row.selected] == ["Epoch 4"]
    assert rows[-1].values[-1].startswith("+0.400")


def test_the_learning_curves_begin_before_training(make_run: MakeSubject) -> None:
    shown = report_run(save(make_run(), SelectedWeights(4, 1.0, False)))
    section = learning(shown)
    assert section is not None and section["starts"]
    summaries = {curve.metric: curve.summary for curve in section["curves"]}
    assert summaries["map@r"].startswith("map@r: 0.150 at epoch 0, 0.500 at epoch 4")
    assert summaries["loss"].startswith("loss: 2.000 at epoch 1")
    assert [row.name for row in section["rows"]][2:4] == ["Epoch 0, before training", "Epoch 1"]


def test_a_run_that_has_not_ended_has_no_report(make_run: MakeSubject) -> None:
    record = make_run().record
    start_record(record.directory, record.config, [], "0")
    with pytest.raises(RunError, match="has not ended"):
        report_run(record.directory)
    assert not record.directory.report.exists()
