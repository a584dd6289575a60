"""Where the results of an opened run are written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conspecific.config.schema import EvaluateConfig, OtherMetricsConfig, OtherSplitConfig, TrainConfig
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun


def test_every_evaluation_of_a_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    embedder: Any = None
    evaluator: Any = SimpleNamespace(splits=SimpleNamespace(protocol="seen"), image_size=96, fingerprint="f00d")
    asked = [
        EvaluateConfig(),
        EvaluateConfig(subset="val"),
        EvaluateConfig(truncate=8),
        EvaluateConfig(split=OtherSplitConfig(seed=1)),
        EvaluateConfig(split=OtherSplitConfig(seed=2)),
        EvaluateConfig(metrics=OtherMetricsConfig([1, 2])),
    ]
    runs = [OpenRun(embedder, tmp_path, TrainConfig(), RunDirectory(tmp_path), config) for config in asked]
    folders = [run.evaluation_folder(evaluator) for run in runs]
    assert folders[0] == tmp_path / "evaluations" / "test_seen_96px_f00d"
    assert len(set(folders)) == len(asked)
