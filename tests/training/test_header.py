"""The first lines of a run."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.errors import DataError
from conspecific.evaluation import Evaluator
from conspecific.training.header import header, print_header


def test_it_says_what_was_found_and_what_is_left_out(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_folder({"robin": 8, "wren [old]": 8})
    (folder / "robin" / "notes.txt").write_text("seen in May")
    (folder / "dunnock").mkdir()
    manifest = replace(from_folder(str(folder)), notes=("Two names are read as one [x].",))
    splits = split(manifest, "seen")
    splits = replace(splits, train=splits.train[:-2])
    evaluator = Evaluator(manifest, splits, "", 96, 0, torch.device("cpu"), Console())
    overrides = ["loader.image_size=96", "model.head=linear", "model.trainable_stages=null", f"paths.run={tmp_path}"]
    config = typed(compose_config("train", [*overrides, "trainer.accelerator=cpu"]), TrainConfig)
    console = Console(record=True, width=60, file=io.StringIO())
    print_header(config, evaluator, console)
    train, val, test = (len(each) for each in (splits.train, splits.val.ids, splits.test.ids))
    assert console.export_text().splitlines() == [
        f"Data: 16 images of 2 species in {folder}",
        f"Splits: {train} training, {val} validation and {test} test images (protocol seen, split seed 0)",
        "Two names are read as one [x].",
        manifest.describe_left_out(),
        "Left out: 2 images that are in no split",
        "Few images: the test takes 50% of the images of each species (split.test_share=0.5); final=true also trains "
        "on all of them after the test, for use.",
        "Network: tf_efficientnet_lite0, weights bundled, pooling gem, linear head, all stages trained; evaluated at "
        "96 px, trained at 160 px",
        "Encoder: torch on cpu, float32; trained in 32-true on cpu",
        f"Run: {tmp_path}",
    ], "nothing is wrapped"
    assert "notes.txt" in manifest.describe_left_out() and "dunnock" in manifest.describe_left_out()


def test_images_that_are_never_drawn_are_counted_where_species_differ_much(
    make_manifest: Callable[..., Manifest],
) -> None:
    manifest = make_manifest(["gull"] * 1000 + ["owl"] * 20 + ["wren"] * 20)
    evaluator = Evaluator(manifest, split(manifest, "seen"), "", 96, 0, torch.device("cpu"), Console())
    lines = {
        epochs: header(typed(compose_config("train", [f"trainer.max_epochs={epochs}"]), TrainConfig), evaluator)
        for epochs in (0, 1, 20)
    }
    assert lines[1][2] == (
        "Sampling: about 260 of 416 training images are never drawn in 1 epochs, because every species is drawn "
        "equally often; 260 of them are of the 400 of gull. More epochs draw more of them (trainer.max_epochs)."
    )
    assert not [line for epochs in (0, 20) for line in lines[epochs] if line.startswith("Sampling")]
    for sampling, told in (("class_balanced", "about 272 of 416"), ("square_root", "about 101 of 416")):
        config = typed(compose_config("train", ["trainer.max_epochs=1", f"loader.sampling={sampling}"]), TrainConfig)
        assert any(line.startswith(f"Sampling: {told}") for line in header(config, evaluator))


def test_groups_and_what_they_cost_are_said(make_manifest: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = make_manifest(["wren"] * 12 + ["owl"] * 12)
    bursts = [f"burst {place // 2}" for place in range(24)]
    manifest = Manifest.from_table(manifest.root, manifest.table.with_columns(group=pl.Series(bursts)))
    splits = replace(split(manifest, "seen"), apart=3)
    config = typed(compose_config("train", [f"paths.run={tmp_path}", "trainer.accelerator=cpu"]), TrainConfig)
    for exclude, answers in ((False, "among its answers (exclude_group=false)"), (True, "left out of its answers")):
        evaluator = Evaluator(manifest, splits, "", 96, 0, torch.device("cpu"), Console(), exclude_group=exclude)
        lines = header(config, evaluator)
        assert lines[0].startswith("Data: 24 images of 2 species, 12 groups in")
        assert f"Groups: none is divided between training and test; a query's own group is {answers}" in lines
        assert any(line.startswith("Left out: 3 images of training or validation") for line in lines)
    with pytest.raises(DataError, match="no image has a group"):
        replace(evaluator, manifest=make_manifest(["wren", "owl"]))
