"""The report of a run is written from its directory."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conspecific.config.schema import TrainConfig
from conspecific.leaks.record import Leaks
from conspecific.reporting.run.run_report import report_run
from conspecific.reporting.run.subject import Report
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import Epoch, append_epoch, start_record

MODEL = dict.fromkeys(("backbone", "weights", "pooling", "head", "embedding_layer"), "some") | {"trainable_stages": 2}
COUNTS = {
    "images": 96,
    "species": 8,
    "train": 40,
    "val": 8,
    "tested": 48,
    "minutes": 1.5,
    "training_minutes": 1.0,
    "peak_memory_gb": 1.0,
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[Report], RunDirectory]:
    """Return a function that writes down what a report shows, as a training run does."""

    def make(report: Report) -> RunDirectory:
        run = RunDirectory(tmp_path / "train" / "2026-01-01")
        run.path.mkdir(parents=True)
        loss = {"_target_": "pytorch_metric_learning.losses.TripletMarginLoss"}
        start_record(run, TrainConfig(leaks="drop", model=MODEL, loss={"loss": loss}), [], "0")
        for row in report.epochs:
            append_epoch(run, Epoch.from_json({"gain_intervals": {}, **row}))
        test = {"flatten": report.flatten, "pooled": report.pooled}
        test |= {} if report.model is None else {"model": report.model}
        for name, result in test.items():
            result.save(run.results / f"test_{name}")
            if name != "model":
                result.save(run.results / f"val_{name}")
        if report.validation is not None:
            report.validation.save(run.results / "val_model")
        gains = {"flatten": [row.to_json() for row in report.over_flatten]}
        gains |= {"pooled": [row.to_json() for row in report.over_pooled]} if report.over_pooled else {}
        summary = COUNTS | {"data_root": str(tmp_path), "test": {name: {} for name in test}, "gains": gains}
        chosen = {"chosen_epoch": 3, "wise_ft_alpha": 0.5, "whitening_refitted": True} if report.model else {}
        run.summary.write_text(json.dumps(summary | chosen))
        return run

    return make


def test_what_was_written_down_is_shown(
    make_report: Callable[..., Report],
    make_run: Callable[[Report], RunDirectory],
    make_leaks: Callable[..., Leaks],
) -> None:
    report = make_report()
    run = make_run(report)
    make_leaks(("Species_A/0.jpg", "Species_A/1.jpg", {})).save(run.leaks)
    shown = report_run(run)
    assert run.report.is_file()
    assert list(shown.over_flatten) == list(report.over_flatten)
    assert list(shown.over_pooled) == list(report.over_pooled)
    assert shown.validation is not None and report.validation is not None
    assert shown.validation.metrics == report.validation.metrics
    assert shown.leaks is not None and shown.leaks.pairs.height == 1
    assert shown.leak_policy == "drop" and shown.chosen_epoch == 3
    assert shown.wise_ft_alpha == 0.5 and shown.whitening_refitted and shown.selected_epoch is None
    assert "selected: WiSE-FT alpha 0.5 of epoch 3, whitening refitted, by map@r" in shown.facts["Epochs"]


def test_a_run_without_training_or_a_leak_check(
    make_report: Callable[..., Report], make_run: Callable[[Report], RunDirectory]
) -> None:
    report = make_report(model=False)
    shown = report_run(make_run(report))
    assert shown.model is None and shown.leaks is None and shown.over_pooled == ()
    assert shown.validation is not None
    assert shown.validation.per_query.equals(report.pooled.per_query)
