"""Cut-offs that a run is asked for, and a metric added to the registry, reach everything a run leaves."""

import csv
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conspecific.metrics import metric_names, recall_at_k, registry
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_epochs
from conspecific.types import EvalResult

from .. import test_readme


def test_a_run_has_the_metrics_that_it_is_asked_for(
    conspecific: Callable[..., CompletedProcess[str]], here: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.Metric(
        "failed", lambda hits, positives, first_rank, k: 1 - recall_at_k(hits, k), "No hit in the top {k}.", at=(3,)
    )
    monkeypatch.setattr(registry, "REGISTRY", (*registry.REGISTRY, entry))
    keys = ["metrics.ks=[2,4]", "monitor=recall@4", "hydra.run.dir=run"]
    done = conspecific("train", *tiny, *keys, "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    names = metric_names((2, 4))
    assert names[:3] == ["recall@1", "recall@2", "recall@4"] and names[-1] == "failed@3"
    assert all(done.stdout.count(f"\n{name} ") >= 2 for name in names), "tables against both references"
    run = RunDirectory(here / "run")
    [epoch] = read_epochs(run)
    with (run.path / "logs" / "csv" / "metrics.csv").open() as file:
        columns = csv.DictReader(file).fieldnames
    report = run.report.read_text()
    for name in names:
        assert name in epoch.metrics and f"val/{name}" in columns
        assert name in report and registry.explain(name) in report
    assert list(EvalResult.load(run.results / "test_model").metrics) == names
    with pytest.raises(AssertionError, match="failed@3"):
        test_readme.test_every_metric_is_explained()
    done = conspecific("evaluate", run.path, "metrics.ks=[8]", "output=again")
    assert list(EvalResult.load(here / "again" / "model").metrics) == metric_names((8,))
