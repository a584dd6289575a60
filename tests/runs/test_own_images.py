"""A run finds its own images again, says what changed, and takes no others for them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import EvaluateConfig, TrainConfig
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.errors import RunError
from conspecific.evaluation import Evaluator
from conspecific.leaks.image_hashes import image_hashes
from conspecific.models import build_embedder
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.record import start_record

OVERRIDES = ["data=folder", "data.root=birds", "model=timm", "model.backbone=test_resnet", "model.head=none"]


@pytest.fixture
def run(make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run on ten images of each of two species, as far as evaluating it needs: it has trained nothing."""
    make_folder({"robin": 10, "wren": 10})
    monkeypatch.chdir(tmp_path)
    run = RunDirectory(tmp_path / "run")
    config = typed(compose_config("train", OVERRIDES), TrainConfig)
    start_record(run, config, OVERRIDES, "none")
    manifest = from_folder(config.data["root"])
    contents = image_hashes(manifest, "none", tmp_path / "other cache", 0, Console(quiet=True)).contents
    split(manifest, "seen").save(run.splits, manifest, contents)
    save_weights(build_embedder("test_resnet", "none", head="none"), run.weights)
    return run


def opened(run: RunDirectory, *overrides: str) -> OpenRun:
    words = [f"run={run.path}", f"paths.cache={run.path / 'cache'}", *overrides]
    return open_run(typed(compose_config("evaluate", words), EvaluateConfig))


def evaluator(run: RunDirectory, console: Console, *overrides: str) -> Evaluator:
    return opened(run, *overrides).evaluator(console)


def paths(found: Evaluator) -> list[str]:
    return found.manifest.table["path"].gather(found.splits.test.ids).sort().to_list()


def test_images_are_found_from_any_folder(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.path / "birds").mkdir()
    monkeypatch.chdir(run.path)
    assert opened(run).manifest().root == run.path.parent / "birds"


def test_changes_are_counted_and_the_recorded_test_images_scored(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(soft_wrap=True)
    before = evaluator(run, console)
    assert "changed since" not in capsys.readouterr().out
    birds = run.path.parent / "birds"
    lost, *_ = paths(before)
    shutil.copy(birds / "wren/01.png", birds / "robin/new.png")
    (birds / lost).unlink()
    found = evaluator(run, console)
    assert "The data changed since the run: 1 new, 1 gone, 0 changed.\n" in capsys.readouterr().out
    assert paths(found) == [path for path in paths(before) if path != lost]


def test_images_that_were_moved_are_named(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    before = evaluator(run, Console(quiet=True))
    (run.path.parent / "birds").rename(run.path.parent / "moved birds")
    with pytest.raises(ValueError, match=r"data\.root=.*/birds is not a folder"):
        opened(run).manifest()
    found = evaluator(run, Console(soft_wrap=True), "data.root=moved birds")
    assert paths(found) == paths(before)
    assert "changed since" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"data\.rot is not an argument .*Did you mean data\.root\?"):
        opened(run, "data.rot=moved birds").manifest()


def test_a_folder_with_other_images_is_refused(run: RunDirectory, make_folder: Callable[..., Path]) -> None:
    make_folder({"robin": 10, "wren": 10}, size=(30, 30), name="others")
    told = r"others does not hold the images of .*/run: 0 of its 10 test query images are there .* data\.root=FOLDER"
    with pytest.raises(RunError, match=told):
        evaluator(run, Console(quiet=True), "data.root=others")
    with pytest.raises(RunError, match="0 of its 20 images are there"):
        opened(run, "data.root=others").embed_all(Console(quiet=True))
    assert not run.embeddings.exists()
    assert len(paths(evaluator(run, Console(quiet=True), "data=folder", "data.root=others"))) == 10


def test_a_run_made_elsewhere_draws_its_images_into_the_present_cache(run: RunDirectory, tmp_path: Path) -> None:
    trained = opened(run).trained
    data = {"_target_": "conspecific.data.sources.butterflies", "species": 2, "images": 2, "size": 32}
    trained.data = {**data, "cache": "/another/machine/cache"}
    trained.paths.cache = "/another/machine/cache"
    manifest = replace(opened(run), trained=trained).manifest()
    assert manifest.root.is_relative_to(run.path / "cache")
