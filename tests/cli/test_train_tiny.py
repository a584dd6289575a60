"""A run from the command to its report: what it prints, and what it leaves."""

import csv
import json
import re
import shlex
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import polars as pl
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from conspecific.leaks.record import Leaks
from conspecific.metrics import metric_names
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_config, read_epochs, read_record
from conspecific.types import EvalResult

PLAIN = (bool, int, float, str, type(None), torch.Tensor)


def read_summary(run: RunDirectory) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run.summary.read_text())
    return summary


def test_nothing_is_printed_on_stderr(training: CompletedProcess[str]) -> None:
    assert training.stderr == ""


def test_the_output_begins_with_what_was_found(training: CompletedProcess[str], run: RunDirectory) -> None:
    header = training.stdout.partition("Leak check: ")[0]
    lines = {line.partition(":")[0]: line.partition(": ")[2] for line in header.splitlines()}
    assert re.fullmatch(r"48 images of 6 species in .*butterflies-6x8-96px.*", lines["Data"])
    assert lines["Splits"] == "12 training, 12 validation and 24 test images (protocol seen, split seed 0)"
    assert lines["Network"].startswith("tf_efficientnet_lite0, weights bundled, pooling gem, whitened head, last 2")
    assert lines["Network"].endswith("evaluated at 96 px, trained at 96 px")
    assert lines["Encoder"] == "torch on cpu, or another backend that is named below; trained in 32-true on cpu"
    assert lines["Run"] == str(run.path)


def test_an_epoch_is_one_line_where_the_output_is_a_file(training: CompletedProcess[str], run: RunDirectory) -> None:
    lines = [line for line in training.stdout.splitlines() if line.startswith("Epoch ")]
    assert len(lines) == 2
    better = max(("flatten", "pooled"), key=lambda name: read_record(run.path).validation[name].metrics["map@r"])
    for line, epoch in zip(lines, read_epochs(run), strict=True):
        start = f"Epoch {epoch.epoch} of 2  loss {epoch.loss:.3f}  recall@1 {epoch.metrics['recall@1']:.3f}  "
        assert line.startswith(start)
        assert f"  gain over {better} " in line and "  lr " in line and " left" in line


def test_the_output_is_lines_and_tables_and_nothing_else(training: CompletedProcess[str]) -> None:
    titles = [line for line in training.stdout.splitlines() if line.startswith("Test, against")]
    assert len(titles) == 2
    assert "Warning" not in training.stdout
    assert "\r" not in training.stdout
    assert not re.search(r"\n\s*\n\s*\n\s*\n", training.stdout), "gaps in the output"


def test_tables_are_whole_at_eighty_columns(training: CompletedProcess[str]) -> None:
    table = training.stdout.partition("Test, against the flatten")[2].partition("Test, against the pooled")[0]
    assert "…" not in table.replace("…+", "").replace("…-", "")  # it separates the bounds of intervals
    assert all(metric in table for metric in metric_names())


def test_the_last_lines_name_the_gains_and_what_to_do_next(training: CompletedProcess[str], run: RunDirectory) -> None:
    last = training.stdout.splitlines()[-14:]
    *gains, known, threshold, kept, verdict, spent, weights, report, following = last
    assert known.startswith("Known or new: ") and threshold.startswith("A first answer of at least ")
    test = read_summary(run)["test"]
    wanted = [(metric, name) for metric in ("recall@1", "precision@10", "map@r") for name in ("flatten", "pooled")]
    for line, (metric, name) in zip(gains, wanted, strict=True):
        before, after = test[name][metric], test["model"][metric]
        assert line.split()[:4] == [metric, f"{before:.3f}", "->", f"{after:.3f}"]
        assert f"gain {after - before:+.3f}" in line
        assert line.endswith({"flatten": "over the flatten baseline", "pooled": "over the pooled reference"}[name])
    assert spent == f"Time: {read_record(run.path).cost}"
    assert kept.startswith("Kept: ") and verdict.startswith(("Fine-tuning", "The fitted head"))
    assert weights == f"Weights: {run.weights}"
    assert report == f"Report: {run.report}"
    program, command, folder, image = shlex.split(following.removeprefix("Next: "))
    assert (program, command, folder) == ("conspecific", "search", str(run.path))
    assert Path(image).is_file()


def test_the_run_directory_holds_every_file_it_names(run: RunDirectory) -> None:
    named = [name for name, value in vars(RunDirectory).items() if isinstance(value, property)]
    later = {
        "embeddings",
        "can_resume",
        "leaks",
        "final",
        "index",
        "index_costs",
        "failed_batch",
        "kept_index",
        "local",
        "of_training",
    }
    assert [name for name in named if name not in later and not getattr(run, name).exists()] == []
    assert (run.checkpoints / "last.ckpt").is_file()
    assert (run.checkpoints / "best.ckpt").is_file()
    assert Leaks.load(run.leaks).compared == 48
    assert not list(run.path.rglob("*.partial"))


def test_every_result_can_be_read_again(run: RunDirectory) -> None:
    stems = {path.with_suffix("").name for path in run.results.iterdir()} - {run.embedding_map.stem}
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
    kept = EvalResult.load(run.results / "val_model")
    assert summary["chosen_epoch"] == kept.facts["epoch"]
    if summary["pooled_reference"]:
        assert kept.metrics == EvalResult.load(run.results / "val_pooled").metrics
    elif summary["chosen_epoch"] and summary["wise_ft_alpha"] == 1 and not summary["whitening_refitted"]:
        assert kept.metrics == epochs[summary["chosen_epoch"] - 1].metrics
    assert (summary["train"], summary["val"], summary["tested"]) == (12, 12, 24)
    assert summary["peak_memory_gb"] > 0.1


def test_the_splits_are_disjoint_and_complete(run: RunDirectory) -> None:
    splits = pl.read_parquet(run.splits, glob=False)
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


def test_the_weights_are_those_that_the_summary_names(run: RunDirectory) -> None:
    summary, weights = read_summary(run), load_file(run.weights)
    start = load_file(run.start)
    candidates = {0: start}
    for name in ("last.ckpt", "best.ckpt"):
        found = torch.load(run.checkpoints / name, map_location="cpu", weights_only=True)
        candidates[found["epoch"] + 1] = {
            key.removeprefix("average.module."): value
            for key, value in found["state_dict"].items()
            if key.startswith("average.module.")
        }
    kept = candidates[summary["chosen_epoch"]]
    assert weights.keys() == kept.keys() and not summary["pooled_reference"]
    own_head = ("head",) if summary["whitening_strength"] is not None or summary["whitening_refitted"] else ()
    alpha = summary["wise_ft_alpha"]
    for name, value in weights.items():
        if not name.startswith(own_head):
            torch.testing.assert_close(
                value, torch.lerp(start[name].double(), kept[name].double(), alpha).to(value.dtype)
            )


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
    assert "Epoch 2 of 2" in log
    assert f"Report: {run.report}" in log
    assert "━━━━━" not in log
    assert "\x1b" not in log


def test_the_report_is_one_file_with_its_images_inside(run: RunDirectory) -> None:
    report = run.report.read_text()
    assert "data:image/" in report
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", report)
