"""A run from the command to its report: what it prints, and what it leaves."""

import csv
import json
import re
from subprocess import CompletedProcess
from typing import Any

import polars as pl
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from conspecific.config.targets import build
from conspecific.leaks.record import Leaks
from conspecific.metrics import metric_names
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_config, read_epochs
from conspecific.types import EvalResult

PLAIN = (bool, int, float, str, type(None), torch.Tensor)


def read_summary(run: RunDirectory) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run.summary.read_text())
    return summary


def test_nothing_is_printed_on_stderr(training: CompletedProcess[str]) -> None:
    assert training.stderr == ""


def test_the_output_is_tables_and_nothing_else(training: CompletedProcess[str]) -> None:
    titles = [line for line in training.stdout.splitlines() if re.match(r"(Validation after|Test, against)", line)]
    assert len(titles) == 4
    assert "Warning" not in training.stdout
    assert "\r" not in training.stdout
    assert not re.search(r"\n\s*\n\s*\n\s*\n", training.stdout), "gaps in the output"


def test_tables_are_whole_at_eighty_columns(training: CompletedProcess[str]) -> None:
    table = training.stdout.partition("Validation after epoch 1")[2].partition("Validation after epoch 2")[0]
    assert "…" not in table.replace("…+", "").replace("…-", "")  # between the ends of intervals it belongs
    assert all(metric in table for metric in metric_names())


def test_the_last_lines_name_the_gain_and_the_report(training: CompletedProcess[str], run: RunDirectory) -> None:
    *_, recall, precision, average, report = training.stdout.splitlines()
    for line, metric in ((recall, "recall@1"), (precision, "precision@10"), (average, "map@r")):
        model, flatten = (read_summary(run)["test"][name][metric] for name in ("model", "flatten"))
        assert line.split()[:4] == [metric, f"{flatten:.3f}", "->", f"{model:.3f}"]
        assert f"gain {model - flatten:+.3f}" in line
        assert line.endswith("over the baseline")
    assert report == f"Report: {run.report}"


def test_the_run_directory_holds_every_file_it_names(run: RunDirectory) -> None:
    named = [name for name, value in vars(RunDirectory).items() if isinstance(value, property)]
    later = {"embeddings", "can_resume", "leaks"}
    assert [name for name in named if name not in later and not getattr(run, name).exists()] == []
    assert (run.checkpoints / "last.ckpt").is_file()
    assert (run.checkpoints / "best.ckpt").is_file()
    assert Leaks.load(run.leaks).compared == 48
    assert not list(run.path.rglob("*.partial"))


def test_every_result_can_be_read_again(run: RunDirectory) -> None:
    stems = {path.with_suffix("").name for path in run.results.iterdir()}
    names = ("flatten", "pooled", "model")
    assert stems == {f"{subset}_{name}" for subset in ("val", "test") for name in names}
    test = read_summary(run)["test"]
    for name in names:
        result = EvalResult.load(run.results / f"test_{name}")
        assert dict(result.metrics) == test[name]
        assert result.per_query.height == result.facts["queries"] == 24
        assert result.facts["subset"] == "test"


def test_the_epochs_and_the_summary_agree(run: RunDirectory) -> None:
    epochs, summary = read_epochs(run), read_summary(run)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert all(set(metric_names()) == set(epoch.metrics) for epoch in epochs)
    best = max(epochs, key=lambda epoch: epoch.metrics["map@r"])
    assert summary["chosen_epoch"] == best.epoch
    assert (summary["train"], summary["val"], summary["tested"]) == (12, 12, 24)
    assert summary["peak_memory_gb"] > 0.1


def test_the_splits_are_disjoint_and_complete(run: RunDirectory) -> None:
    splits = pl.read_parquet(run.splits)
    uses = splits.select((pl.col("train") + pl.col("val_query") + pl.col("test_query")).alias("uses"))["uses"]
    assert splits.height == 48
    assert uses.to_list() == [1] * 48


def test_the_record_says_how_to_do_it_again(run: RunDirectory, tiny: list[str]) -> None:
    assert OmegaConf.to_container(OmegaConf.load(run.overrides)) == ["experiment=default", *tiny]
    environment = json.loads(run.environment.read_text())
    assert environment["command"] == " ".join(["conspecific", "train", "experiment=default", *tiny])
    assert environment["data_fingerprint"]
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert read_config(run).data["species"] == 6


def test_the_weights_are_those_of_the_best_checkpoint(run: RunDirectory) -> None:
    embedder = build({**read_config(run).model, "weights": "none"}, "model")
    weights = load_file(run.weights)
    embedder.load_state_dict(weights)
    best = torch.load(run.checkpoints / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    assert all(torch.equal(weights[name], best[f"embedder.{name}"]) for name in weights)


def test_checkpoints_hold_plain_containers_only(run: RunDirectory) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint = torch.load(run.checkpoints / name, map_location="cpu", weights_only=True)
        assert [kind for kind in kinds(checkpoint) if not issubclass(kind, PLAIN)] == []


def kinds(value: Any) -> set[type]:
    """Types of all that is not a container."""
    if isinstance(value, dict):
        return set().union(*(kinds(item) for pair in value.items() for item in pair))
    if isinstance(value, (list, tuple)):
        return set().union(*map(kinds, value))
    return {type(value)}


def test_the_csv_logger_holds_losses_metrics_and_gains(run: RunDirectory) -> None:
    with (run.path / "logs" / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    scored = [row for row in rows if row["val/recall@1"]]
    assert len(scored) == 2
    for row, epoch in zip(scored, read_epochs(run), strict=True):
        assert abs(float(row["val/map@r"]) - epoch.metrics["map@r"]) < 1e-6
    assert {f"val/{metric}_gain" for metric in metric_names()} <= set(rows[0])
    assert [row["step"] for row in rows if row["train/loss_step"]] == ["0", "1", "2", "3"]


def test_the_log_holds_the_tables_and_no_progress_bars(run: RunDirectory) -> None:
    log = run.log.read_text()
    assert "Validation after epoch 2 of 2" in log
    assert f"Report: {run.report}" in log
    assert "━━━━━" not in log
    assert "\x1b" not in log


def test_the_report_is_one_file_with_its_images_inside(run: RunDirectory) -> None:
    report = run.report.read_text()
    assert "data:image/" in report
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", report)
