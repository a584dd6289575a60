"""Runs averaged into one model, which is used as a run is."""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from subprocess import CompletedProcess

import polars as pl
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from conspecific.cli import soup
from conspecific.config.schema import PathsConfig, SoupConfig
from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.types import EvalResult

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def pair(run: RunDirectory, tmp_path: Path) -> list[RunDirectory]:
    """The tiny run twice, the second with noise in its weights and a lower validation score."""
    copies = [RunDirectory(Path(shutil.copytree(run.path, tmp_path / name))) for name in ("first", "second")]
    noise = torch.Generator().manual_seed(0)
    weights = load_file(copies[1].weights)
    save_file(
        {
            name: tensor + 0.3 * tensor.std() * torch.randn(tensor.shape, generator=noise)
            if name.endswith("weight") and tensor.numel() > 1
            else tensor
            for name, tensor in weights.items()
        },
        copies[1].weights,
    )
    stored = EvalResult.load(copies[1].results / "val_model")
    EvalResult({**stored.metrics, "map@r": 0.01}, stored.macro, stored.per_query, stored.facts).save(
        copies[1].results / "val_model"
    )
    return copies


def test_the_soup_is_the_mean_and_opens_like_a_run(conspecific: Command, pair: list[RunDirectory]) -> None:
    done = conspecific("soup", *(each.path for each in pair), "output=soup")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == ["Soup: soup", "Next: conspecific evaluate soup"]
    mean, first, second = (load_file(run.weights) for run in (RunDirectory(Path("soup")), *pair))
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (first[name] + second[name]) / 2, rtol=1e-5, atol=1e-6)
    recipe = json.loads(Path("soup/soup.json").read_text())
    assert [Path(each["run"]).name for each in recipe["ingredients"]] == ["first", "second"]
    scored = conspecific("evaluate", "soup", "subset=val")
    assert (scored.returncode, scored.stderr) == (0, "")
    [folder] = Path("soup/evaluations").iterdir()
    assert EvalResult.load(folder / "model").metrics["map@r"] == recipe["score"]
    assert conspecific("embed", "soup").returncode == 0


def test_greedy_leaves_out_what_lowers_validation(conspecific: Command, pair: list[RunDirectory]) -> None:
    done = conspecific("soup", *(each.path for each in reversed(pair)), "output=soup", "greedy=true")
    assert (done.returncode, done.stderr) == (0, "")
    recipe = json.loads(Path("soup/soup.json").read_text())
    first, second = recipe["ingredients"]
    assert Path(first["run"]).name == "first" and first["kept"]
    assert first["soup_with_it"] == pytest.approx(first["validation"], abs=1e-6), "one scoring path"
    assert second["kept"] == (second["soup_with_it"] >= first["soup_with_it"])
    assert recipe["score"] >= first["soup_with_it"]
    assert RunDirectory(Path("soup")).weights.is_file()


def test_what_cannot_be_averaged_is_said(conspecific: Command, pair: list[RunDirectory]) -> None:
    first, second = pair
    config = second.config.read_text()
    second.config.write_text(config.replace("pooling: gem", "pooling: max"))
    done = conspecific("soup", first.path, second.path)
    assert done.returncode == 2
    assert "cannot be averaged, they differ in model.pooling: gem and max" in done.stderr
    second.config.write_text(config)
    splits = pl.read_parquet(second.splits, glob=False)
    splits.with_columns(train=~pl.col("train")).write_parquet(second.splits)
    done = conspecific("soup", first.path, second.path)
    assert "their training, validation or test images differ" in done.stderr
    splits.write_parquet(second.splits)
    (second.results / "val_model.json").unlink()
    done = conspecific("soup", first.path, second.path)
    assert "second has no weights with a validation score" in done.stderr
    assert not Path("runs").exists()


def test_a_folder_with_something_in_it_is_left_alone(conspecific: Command, pair: list[RunDirectory]) -> None:
    done = conspecific("soup", *(each.path for each in pair), f"output={pair[0].path}")
    assert done.returncode == 2
    assert "holds something already" in done.stderr


def test_soups_of_one_second_have_folders_of_their_own_and_a_failed_one_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls(2026, 1, 2, 3, 4, 5)

    def made(places: Sequence[str], folder: Path, config: SoupConfig, console: Console) -> Path:
        if not places:
            raise RunError("no runs")
        (folder / "soup.json").write_text("{}")
        return folder

    printed: list[Path] = []
    monkeypatch.setattr(soup, "datetime", Clock)
    monkeypatch.setattr(soup, "make_soup", made)
    monkeypatch.setattr(soup, "_print", lambda console, folder: printed.append(folder))
    config = SoupConfig(paths=PathsConfig(runs=str(tmp_path)))
    for _ in range(2):
        soup.run(config, ["first", "second"])
    with pytest.raises(RunError):
        soup.run(config, [])
    assert [folder.name for folder in printed] == ["2026-01-02_03-04-05", "2026-01-02_03-04-05-2"]
    assert sorted((tmp_path / "soups").iterdir()) == printed
