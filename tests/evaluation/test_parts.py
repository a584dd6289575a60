"""Embeddings made in parts: each is made once, and joining them gives the embeddings of all images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation import parts
from conspecific.evaluation.parts import Part, merge_parts, parts_folder, write_part
from conspecific.evaluation.store import WEIGHTS, load_embeddings, read_facts
from conspecific.types import FloatArray, IntArray

FACTS = {"data": "those", WEIGHTS: "these", "similarity": "cosine"}
LABELS = [*["robin"] * 5, *["wren"] * 5, "dunnock"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BLOCK", 2)


@pytest.fixture
def manifest(make_manifest: Callable[..., Manifest]) -> Manifest:
    return make_manifest(LABELS)


def vectors_of(places: IntArray) -> FloatArray:
    """What stands for embeddings: of the image at each place in all images."""
    return np.stack([places, places**2, -places], axis=1).astype(np.float32)


def make(part: Part, output: Path, manifest: Manifest, asked: list[int] | None = None, **facts: str) -> Path:
    """Write a part; `asked` gets the places that are encoded."""
    rows = part.of(len(manifest))

    def encode(places: IntArray) -> FloatArray:
        if asked is not None:
            asked.extend((places + rows.start).tolist())
        return vectors_of(places + rows.start)

    return write_part(part, output, {**FACTS, **facts}, manifest.table.select("path", "label")[rows], encode)


@pytest.mark.parametrize("count", [1, 3, 11, 20])
def test_joined_parts_are_the_embeddings_of_all_images(count: int, tmp_path: Path, manifest: Manifest) -> None:
    output = tmp_path / "out"
    for number in np.random.default_rng(0).permutation(count) + 1:
        make(Part(count, int(number)), output, manifest)
    assert merge_parts(output) == (11, 3)
    found = load_embeddings(output, manifest)
    assert found.ids.tolist() == list(range(11))
    np.testing.assert_array_equal(found.vectors, vectors_of(np.arange(11)))
    assert read_facts(output) == FACTS
    assert not parts_folder(output).exists()
    assert pl.read_parquet(output / "images.parquet")["label"].to_list() == LABELS


def test_a_part_that_is_there_is_not_made_again_and_one_that_was_cut_off_goes_on(
    tmp_path: Path, manifest: Manifest
) -> None:
    output, part, asked = tmp_path / "out", Part(2, 2), list[int]()
    folder = make(part, output, manifest)
    make(part, output, manifest, asked)
    assert asked == []
    (folder / "facts.json").unlink()  # as if it had been killed in its last block
    (folder / "000000000004.npy").unlink()
    (folder / "000000000002.npy").write_bytes(b"half a block of another program")
    make(part, output, manifest, asked)
    assert asked == [7, 8, 9, 10]
    make(Part(2, 1), output, manifest)
    (folder / "000000000000.npy").write_bytes((folder / "000000000002.npy").read_bytes())
    make(part, output, manifest, asked)
    assert asked[4:] == [5, 6, 7, 8, 9, 10], "a part that is damaged is made again whole"
    merge_parts(output)
    np.testing.assert_array_equal(load_embeddings(output, manifest).vectors, vectors_of(np.arange(11)))


def test_parts_that_are_missing_damaged_or_of_others_are_named_and_nothing_is_lost(
    tmp_path: Path, manifest: Manifest
) -> None:
    output = tmp_path / "out"
    with pytest.raises(RunError, match="holds no part: conspecific embed RUN output="):
        merge_parts(output)
    first = make(Part(3, 1), output, manifest)
    with pytest.raises(RunError, match="2 of 3 parts are not there, or not ended: shard=2/3, 3/3"):
        merge_parts(output)
    with pytest.raises(RunError, match="holds a part of other embeddings: of other images, or by other weights"):
        make(Part(3, 1), output, manifest, weights="others")
    make(Part(3, 2), output, manifest, weights="others")
    last = make(Part(3, 3), output, manifest)
    with pytest.raises(RunError, match="0000002-of-0000003 are of other images, or by other weights, than the first"):
        merge_parts(output)
    for file in parts_folder(output).glob("0000002*/*"):
        file.unlink()
    make(Part(3, 2), output, manifest)
    (last / "000000000000.npy").write_bytes((first / "000000000000.npy").read_bytes())
    with pytest.raises(RunError, match=r"damaged parts: 0000003-of-0000003, 000000000000\.npy was changed"):
        merge_parts(output)
    assert not output.exists() and len(list(parts_folder(output).iterdir())) == 3
    make(Part(2, 1), output, manifest)
    with pytest.raises(RunError, match="holds parts of 2 and 3, which overlap"):
        merge_parts(output)


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds other files than embeddings"):
        make(Part(1, 1), tmp_path / "out", manifest)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "a/b", "1/3/5", "1/99999999"])
def test_what_is_not_a_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"from 1/100 to 100/100; found {text}"):
        Part.parse(text)


def test_parts_are_equal_and_each_image_is_in_one() -> None:
    sizes = [part.stop - part.start for part in (Part(7, number).of(100) for number in range(1, 8))]
    assert sum(sizes) == 100 and max(sizes) - min(sizes) == 1
    assert Part.parse("3/100") == Part(100, 3)
