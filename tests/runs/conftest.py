from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.files import write_json
from conspecific.metrics import metric_names
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import start_record
from conspecific.types import EvalResult

MakeRun = Callable[..., Path]


def result_of(values: Sequence[float], species: Sequence[str], protocol: str = "seen") -> EvalResult:
    """A result whose every metric has these values, one a query."""
    paths = [f"{number:03}.jpg" for number in range(len(values))]
    table = pl.DataFrame({"path": paths, "label": list(species)} | {name: list(values) for name in metric_names()})
    means = dict.fromkeys(metric_names(), float(np.mean(values)))
    counts = {"queries": len(paths), "gallery": len(paths), "species": len(set(species))}
    return EvalResult(means, means, table, {"protocol": protocol, **counts})


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes the record of a finished run whose queries scored these values."""

    def make(name: str, values: Sequence[float], *overrides: str, species: str = "ab", contents: str = "same") -> Path:
        run = RunDirectory(tmp_path / name)
        run.path.mkdir()
        given = [f"paths.run={run.path}", f"paths.cache={tmp_path / name}", "model.weights=none", *overrides]
        config = typed(compose_config("train", given), TrainConfig)
        start_record(run, config, ["data=butterflies", *overrides], "fingerprint")
        result = result_of(values, [species[place % len(species)] for place in range(len(values))], config.protocol)
        result.save(run.results / "test_model")
        poor = result_of([0.0] * len(values), result.per_query["label"].to_list(), config.protocol)
        for reference in ("flatten", "pooled"):
            replace(poor, facts={**poor.facts, "name": reference}).save(run.results / f"test_{reference}")
        uses = {"content": contents, "train": False, "test_query": True, "test_gallery": True}
        columns = [pl.lit(value).alias(column) for column, value in uses.items()]
        result.per_query.select("path", "label").with_columns(columns).write_parquet(run.splits)
        counts = {"data_root": str(tmp_path), "images": 4, "species": 2, "train": 2, "val": 2, "tested": 4}
        cost = {"minutes": 1.0, "training_minutes": 1.0, "peak_memory_gb": 1.0}
        selection = {"chosen_epoch": 1, "wise_ft_alpha": 1.0, "whitening_refitted": False}
        write_json(run.summary, {**selection, **cost, **counts, "test": {}, "gains": {}})
        return run.path

    return make
