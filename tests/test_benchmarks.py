"""The benchmarks run, and what they set beside each other is the same work."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scoring_gives_the_same_numbers_by_every_method_that_gives_any() -> None:
    scoring = load("scoring")
    found = {name: scoring.measure(method, 2_000, 32, 200) for name, method in scoring.METHODS.items()}
    assert all(row["seconds"] > 0 and row["megabytes"] >= 0 for row in found.values())
    for metric in ("recall@1", "map@r"):
        assert 0.2 < found["conspecific"][metric] < 0.99
        assert found["conspecific"][metric] == pytest.approx(found["pytorch-metric-learning"][metric], abs=1e-6)


def test_the_main_jobs_gain_is_the_one_the_summary_keeps() -> None:
    interval, other = ({"mean": 0.1, "low": low, "high": 0.2} for low in (0.05, 0.01))
    stored = {"value": 0.6, "other": 0.5, "by_query": other, "by_species": interval, "over_species": True}
    counts = {"p_value": 0.01, "won": 3, "lost": 1, "unchanged": 0}
    gains = {"pooled": [{"metric": name, **stored, **counts} for name in ("recall@1", "map@r")]}
    assert load("main_job").gain({"gains": gains}) == "+0.100 (+0.050 to +0.200)"


def test_every_benchmark_says_how_it_is_run() -> None:
    for path in BENCHMARKS.glob("*.py"):
        assert f"python benchmarks/{path.name}" in (load(path.stem).__doc__ or "")
