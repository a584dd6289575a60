"""Every run below a folder in brief; what is damaged is named and keeps no other run from being listed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from conspecific.cli.main import main
from conspecific.errors import RunError
from conspecific.metrics import metric_names
from conspecific.reading import read_json
from conspecific.runs.directory import RunDirectory
from conspecific.runs.overview import differing, read_overview
from conspecific.runs.record import Epoch, append_epoch

from .conftest import MakeRun, result_of

MakeListed = Callable[..., Path]


@pytest.fixture
def make_listed(make_run: MakeRun, tmp_path: Path) -> MakeListed:
    """Writes a finished run below `runs` with this learning curve, whose test scores are all `test`."""

    def make(name: str, curve: Sequence[float], *overrides: str, test: float = 0.5) -> Path:
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        path = make_run(f"runs/{name}", [test] * 4, *overrides)
        for place, value in enumerate(curve, start=1):
            append_epoch(RunDirectory(path), Epoch(place, 1.0, dict.fromkeys(metric_names(), value), {}))
        result_of([max(curve)] * 4, "abab").save(RunDirectory(path).results / "val_model")
        return path

    return make


def test_runs_are_found_at_any_depth_and_ranked_by_validation(make_listed: MakeListed, tmp_path: Path) -> None:
    make_listed("a/0", [0.2, 0.3], "loss=triplet", "seed=7", test=0.9)
    make_listed("b/sweep/1", [0.4, 0.6], "loss=arcface", test=0.1)
    hidden = tmp_path / "runs/.hydra"
    hidden.mkdir()
    (hidden / "config.yaml").write_text("{}")
    found = read_overview(tmp_path / "runs")
    [task] = found.tasks
    assert [run.name for run in task] == ["b/sweep/1", "a/0"]
    assert not found.left_out
    first, second = task
    assert (first.score, first.test["map@r"], first.curve) == (0.6, pytest.approx(0.1), [(1, 0.4), (2, 0.6)])
    assert (second.loss, second.seed, second.protocol, second.backbone) == (
        "TripletMargin",
        7,
        "seen",
        "tf_efficientnet_lite0",
    )
    assert first.data == "butterflies"
    assert differing(task)["seed"] == {"0": 1, "7": 1}
    assert "loss.loss._target_" in differing(task) and "model.backbone" not in differing(task)


def test_runs_with_other_splits_are_another_task(make_listed: MakeListed, tmp_path: Path) -> None:
    make_listed("0", [0.2])
    make_listed("1", [0.3], "split.seed=1")
    make_listed("2", [0.1])
    found = read_overview(tmp_path / "runs")
    assert [[run.name for run in task] for task in found.tasks] == [["0", "2"], ["1"]]


def test_what_is_damaged_is_named_and_left_out(make_listed: MakeListed, tmp_path: Path) -> None:
    broken: dict[str, Callable[[RunDirectory], object]] = {
        "no config": lambda run: run.config.unlink(),
        "yaml": lambda run: run.config.write_text("a: [", encoding="utf-8"),
        "tag": lambda run: run.config.write_text("!!python/object/apply:os.getcwd []", encoding="utf-8"),
        "list": lambda run: run.config.write_text("- 1", encoding="utf-8"),
        "bytes": lambda run: run.config.write_bytes(b"\xff\xfe\x00"),
        "unfinished": lambda run: run.summary.unlink(),
        "summary": lambda run: run.summary.write_text('{"gains": 3}'),
        "deep": lambda run: run.summary.write_text("[" * 100_000),
        "epochs": lambda run: run.epochs.write_text('{"epoch": 1, "loss": 1}'),
        "scores": lambda run: (run.results / "val_model.json").write_text('{"metrics": {"map@r": "high"}}'),
        "no scores": lambda run: (run.results / "val_model.json").unlink(),
        "version": lambda run: run.environment.write_text('{"schema_version": 1}'),
    }
    make_listed("good", [0.2])
    for name, damage in broken.items():
        damage(RunDirectory(make_listed(name, [0.1])))
    found = read_overview(tmp_path / "runs")
    assert [run.name for run in found.runs] == ["good"]
    reasons = dict(found.left_out)
    assert reasons.keys() == broken.keys()
    assert reasons["unfinished"].startswith("has not ended")
    assert "version 1 of the record" in reasons["version"]


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run directory"):
        read_overview(tmp_path)


def test_a_metric_that_is_no_number_is_not_shown(make_listed: MakeListed, tmp_path: Path) -> None:
    stored = RunDirectory(make_listed("0", [0.2])).results / "test_model.json"
    stored.write_text(json.dumps({**read_json(stored), "metrics": {"map@r": float("nan"), "recall@1": 0.5}}))
    [run] = read_overview(tmp_path / "runs").runs
    assert run.test == {"recall@1": 0.5}


def test_the_command_writes_the_page_and_names_what_it_left_out(
    make_listed: MakeListed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_listed("good", [0.2, 0.3])
    RunDirectory(make_listed("cut", [0.1])).summary.unlink()
    assert main(["dashboard", str(tmp_path / "runs")]) == 0
    page = tmp_path / "runs/dashboard.html"
    assert capsys.readouterr().out.splitlines() == [
        "Left out: cut: has not ended: it was not scored on its test split. Resume it, or leave it out.",
        "1 run, 1 left out",
        f"Dashboard: {page.resolve()}",
    ]
    assert "1 run: validation map@r 0.300" in page.read_text()
    assert main(["dashboard", str(tmp_path / "runs"), f"output={tmp_path / 'new/page.html'}"]) == 0
    assert (tmp_path / "new/page.html").is_file()
