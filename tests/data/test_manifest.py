"""The table that says which images there are."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.errors import DataError


def test_species_are_numbered_densely_by_name(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["wren", "robin", "wren", "Owl"])
    assert manifest.species == ("Owl", "robin", "wren")
    assert manifest.labels.dtype == np.int64
    assert manifest.labels.tolist() == [2, 1, 2, 0]
    assert len(manifest) == 4
    assert manifest.path(1) == manifest.root / "robin" / "0001.jpg"


def test_missing_split_and_role_are_null(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["robin", "wren"])
    assert manifest.table.columns == ["path", "label", "split", "role", "group"]
    assert manifest.table["split"].to_list() == manifest.table["role"].to_list() == [None, None]


def test_empty_text_in_split_and_role_is_null(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["robin", "wren"], split=["", "test"], role=["gallery", ""])
    assert manifest.table["split"].to_list() == [None, "test"]
    assert manifest.table["role"].to_list() == ["gallery", None]


def test_other_columns_are_left_out(tmp_path: Path) -> None:
    table = pl.DataFrame({"photographer": ["me"], "label": ["robin"], "path": ["a.jpg"]})
    assert Manifest.from_table(tmp_path, table).table.columns == ["path", "label", "split", "role", "group"]


def test_numbers_are_labels_too(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a.jpg", "b.jpg"], "label": [10, 9]})
    assert Manifest.from_table(tmp_path, table).species == ("10", "9")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"]}, r"missing: label \(found: path\)"),
        ({"file": ["a"], "species": ["b"]}, r"missing: path, label \(found: file, species\)"),
        ({"path": [], "label": []}, "the manifest is empty"),
        ({"path": ["a", "", None], "label": ["x", "x", "x"]}, r"2 manifest rows have no path, first rows \[2, 3\]"),
        ({"path": [None, "\0"], "label": ["x", "x"]}, r"1 .* no path, .* \[1\]; 1 .* a path with a NUL byte, .* \[2\]"),
        ({"path": ["a"], "label": [[1, 2]]}, "columns hold text"),
        ({"path": ["a"], "label": [b"\xff"]}, "columns hold text"),
    ],
)
def test_tables_that_are_no_manifest_are_refused(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Manifest.from_table(tmp_path, pl.DataFrame(columns))


def test_fingerprint_stays_while_nothing_changes(make_folder: Callable[..., Path]) -> None:
    root = str(make_folder({"robin": 2, "wren": 2}))
    assert from_folder(root).fingerprint() == from_folder(root).fingerprint()


@pytest.mark.parametrize("change", ["content", "time", "name", "label", "split", "role", "image"])
def test_fingerprint_changes_with(change: str, make_folder: Callable[..., Path]) -> None:
    root = make_folder({"robin": 2, "wren": 2})
    manifest = from_folder(str(root))
    before = manifest.fingerprint()
    image, table = root / "robin" / "00.png", manifest.table
    stat = image.stat()
    if change == "content":
        image.write_bytes(image.read_bytes() + b"more")
        os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "time":
        os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    elif change == "name":
        image.rename(root / "robin" / "99.png")
        table = from_folder(str(root)).table
    elif change == "image":
        table = table[:-1]
    else:
        table = table.with_columns(pl.lit("test").alias(change))
    assert Manifest.from_table(root, table).fingerprint() != before


def test_species_with_a_single_image_are_named_and_counted(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["robin"] * 3 + ["wren", "owl"])
    assert manifest.describe_lone().startswith("2 species with a single image: owl, wren. Nothing is left to find")
    assert manifest.describe_lone() in manifest.describe()
    assert make_manifest(["robin"] * 2).describe_lone() == ""


def test_species_with_too_few_images_can_be_left_out(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"path": [f"{n}.jpg" for n in range(6)], "label": ["wren", "owl", "wren", "jay", "owl", "wren"]}
    )
    manifest = Manifest.from_table(tmp_path, table, min_images=3)
    assert (manifest.species, manifest.few, len(manifest)) == (("wren",), ("jay", "owl"), 3)
    assert manifest.describe_left_out() == "2 species with fewer than 3 images are left out: jay, owl."
    with pytest.raises(DataError, match=r"no species has data.min_images=4 images: the largest of 3 has 3"):
        Manifest.from_table(tmp_path, table, min_images=4)
    with pytest.raises(DataError, match=r"data.min_images must be 1 or more; found 0"):
        Manifest.from_table(tmp_path, table, min_images=0)
