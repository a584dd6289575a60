"""A run whose gallery holds images without a label, and whose queries are not all of species in the gallery."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import polars as pl
import pytest
from PIL import Image

import conspecific as conspecific_api
from conspecific.config.overrides import override
from conspecific.data.sources import from_file
from conspecific.evaluation.rejection import rejection_of
from conspecific.evaluation.taxonomy import recall_at_ranks
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_splits
from conspecific.types import EvalResult

Command = Callable[..., CompletedProcess[str]]
KNOWN, NEW = ("owl", "wren", "robin", "jay"), ("crow", "stork")
GENUS: dict[str | None, str] = {"jay": "corvid", "crow": "corvid", "wren": "small", "robin": "small", "owl": "owl"}


@pytest.fixture(scope="module")
def mixed(tiny: list[str], cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run on four species of eight images, searched with three more of each, and six of each of two new species."""
    folder = tmp_path_factory.mktemp("mixed")
    rng, rows = np.random.default_rng(0), []

    def draw(name: str | None, role: str, base: np.ndarray) -> None:
        path = f"{len(rows):03}.png"
        pixels = np.clip(base + rng.integers(-40, 41, base.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / path)
        rows.append((path, name, GENUS.get(name), role))

    for name in (*KNOWN, *NEW):
        base = rng.integers(0, 255, (6, 6, 3))
        for place in range(11 if name in KNOWN else 6):
            draw(name, "gallery" if name in KNOWN and place < 8 else "query", base)
    for _ in range(4):
        draw(None, "gallery", rng.integers(0, 255, (6, 6, 3)))
    draw(None, "query", rng.integers(0, 255, (6, 6, 3)))
    pl.DataFrame(rows, schema=["path", "label", "genus", "role"], orient="row").write_csv(folder / "images.csv")
    run = conspecific_api.train(
        [
            *("data=manifest", f"data.path={folder / 'images.csv'}", "protocol=query_gallery", "final=true"),
            *(each for each in tiny if not each.startswith("data.")),
            *("trainer.max_epochs=1", override("paths.cache", str(cache)), f"hydra.run.dir={folder / 'run'}"),
        ]
    )
    assert run is not None
    return run.directory


def test_images_without_a_label_are_searched_in_and_nothing_else(mixed: RunDirectory, conspecific: Command) -> None:
    splits = read_splits(mixed)
    unlabelled = splits.filter(pl.col("label").is_null())
    uses = unlabelled.select("train", "val_query", "val_gallery", "test_query", "test_gallery").rows()
    assert uses == [(False, False, True, False, True)] * 4 + [(False,) * 5]
    log = mixed.log.read_text()
    assert "5 images without a label" in log
    assert "Distractors: 4 images without a label in the validation gallery, 4 in the test gallery" in log
    assert "Left out: 1 images that are in no split" in log
    result = EvalResult.load(mixed.results / "test_model")
    assert (result.facts["queries"], result.facts["gallery"], result.facts["excluded"]) == (12, 36, 12)
    final = read_splits(mixed.final).filter("train")
    assert final.height == 56 and final["label"].null_count() == 0


def test_known_and_new_queries_are_told_apart(mixed: RunDirectory, conspecific: Command) -> None:
    result = EvalResult.load(mixed.results / "test_model")
    assert result.new is not None and set(result.new["label"]) == set(NEW)
    found = rejection_of(result)
    assert found is not None and (found.known, found.new, found.asked_twice) == (12, 12, False)
    log, told = mixed.log.read_text(), found.describe()
    assert all(sentence in log for sentence in told) and "12 of species that are not: AUROC" in told[0]
    assert 'id="known"' in mixed.report.read_text()
    done = conspecific("evaluate", str(mixed.path))
    assert done.returncode == 0, done.stderr
    assert "The data changed" not in done.stdout and all(sentence in done.stdout for sentence in told)
    [folder] = (mixed.path / "evaluations").iterdir()
    again = EvalResult.load(folder / "model")
    assert again.metrics == result.metrics and again.facts["rejection"] == result.facts["rejection"]


def test_ranks_above_species_are_scored_and_reported(mixed: RunDirectory) -> None:
    log = mixed.log.read_text()
    assert ", 3 of rank genus in " in log
    result = EvalResult.load(mixed.results / "test_model")
    species, genus = recall_at_ranks(result)
    assert genus.recall[0].mean >= species.recall[0].mean == result.metrics["recall@1"]
    assert f"recall@1 by rank: species {species.recall[0].mean:.3f}, genus {genus.recall[0].mean:.3f}" in log
    assert "The lowest rank at which the answer to a query is sure: species for " in log
    assert 'id="taxonomy"' in mixed.report.read_text()


def test_a_search_names_the_species_of_what_has_none(mixed: RunDirectory, conspecific: Command, here: Path) -> None:
    manifest = from_file(str(mixed.path.parent / "images.csv"))
    one = manifest.root / "056.png"
    for _ in range(2):  # the images of the run, then the index that this left
        done = conspecific("search", str(mixed.path), str(one), "k=61", f"output={here / 'found.csv'}")
        assert done.returncode == 0, done.stderr
        rows = pl.read_csv(here / "found.csv")
        assert rows.height == 61 and rows["path"][0] == "056.png"
        assert re.search(r"^(Sure as (species|genus): |Not sure at any rank)", done.stdout, re.MULTILINE), done.stdout
        unknown = set(rows.filter(pl.col("species") == "unknown species")["path"])
        assert unknown == set(manifest.table.filter(pl.col("label").is_null())["path"])
