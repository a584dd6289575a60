"""Every benchmark, fetched, unpacked, read and divided."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conspecific.data import downloads
from conspecific.data.downloads import catalogue
from conspecific.data.downloads.obtain import Collection
from conspecific.data.splits import split
from conspecific.errors import DataError

OF_PICTURES = ["cub200", "cars196", "oxford_pets", "stanford_dogs", "flowers102"]
OF_SPECIES = ["sop", "inshop", "inat2018"]
EVERY = pytest.mark.parametrize("name", OF_PICTURES + OF_SPECIES)


# --- what holds for all


@EVERY
def test_a_benchmark_is_fetched_once_and_every_image_is_there(name: str, bench: Callable[[str], Any]) -> None:
    small = bench(name)
    manifest = small.fetched()
    asked = len(small.site.log)
    assert asked == len(small.site.files)
    assert (len(manifest), len(manifest.species)) == (48, 6)
    assert all(manifest.path(number).is_file() for number in range(48))
    assert manifest.root.is_relative_to(small.cache / "datasets" / name)
    assert small.get().table.equals(manifest.table)
    assert len(small.site.log) == asked


@EVERY
def test_a_folder_that_is_there_is_taken_without_any_network(name: str, bench: Callable[[str], Any]) -> None:
    small = bench(name)
    manifest = small.fetched()
    small.site.log.clear()
    for root in {manifest.root, small.cache / "datasets" / name}:
        again = replace(small, cache=small.cache / "nowhere").get(root=str(root))
        assert again.table.equals(manifest.table)
        assert again.root == manifest.root
    assert small.site.log == []
    assert not (small.cache / "nowhere").exists()


@EVERY
def test_no_species_is_on_both_sides_of_unseen(name: str, bench: Callable[[str], Any]) -> None:
    manifest = bench(name).fetched()
    splits = split(manifest, "unseen")
    sides = [set(manifest.labels[ids]) for ids in (splits.train, splits.val.ids, splits.test.ids)]
    assert len(sides[0] | sides[1]) == len(sides[2]) == 3
    assert sum(map(len, sides)) == 6


@pytest.mark.parametrize("name", OF_PICTURES)
def test_a_split_of_images_serves_seen_and_the_first_half_by_name_trains_unseen(
    name: str, bench: Callable[[str], Any]
) -> None:
    manifest = bench(name).fetched()
    splits = split(manifest, "seen")
    assert np.array_equal(splits.test.ids, np.flatnonzero((manifest.table["split"] == "test").to_numpy()))
    assert len(splits.test.ids) == 24
    unseen = split(manifest, "unseen")
    assert set(manifest.labels[unseen.test.ids]) == {3, 4, 5}


@pytest.mark.parametrize("name", OF_SPECIES)
def test_a_split_of_species_serves_unseen_as_it_is(name: str, bench: Callable[[str], Any]) -> None:
    manifest = bench(name).fetched()
    splits = split(manifest, "unseen")
    assert np.array_equal(splits.test.ids, np.flatnonzero((manifest.table["split"] == "test").to_numpy()))


@EVERY
def test_what_is_missing_from_a_folder_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "something.txt").touch()
    with pytest.raises(DataError, match=r"does not hold .* is missing \(found: something.txt\)"):
        getattr(downloads, name)("cache", root=str(tmp_path))
    with pytest.raises(DataError, match="it is not a folder"):
        getattr(downloads, name)("cache", root=str(tmp_path / "nowhere"))


@EVERY
def test_addresses_are_of_the_web_and_checksums_are_whole(name: str) -> None:
    collection: Collection = getattr(catalogue, name.upper())
    assert collection.name == name
    for file in collection.files:
        assert file.url is None or file.url.startswith(("http://", "https://"))
        kind, _, digest = (file.checksum or "sha256:" + "0" * 64).partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[kind] and int(digest, 16) >= 0
    assert bool(collection.step) == any(file.url is None for file in collection.files)


# --- what each has of its own


def test_birds_are_numbered_and_named(bench: Callable[[str], Any]) -> None:
    manifest = bench("cub200").fetched()
    assert manifest.species[0] == "001.Bird_1"
    assert manifest.table.row(0) == ("images/001.Bird_1/Bird_1_0000.jpg", "001.Bird_1", "train", None, None)


def test_cars_are_in_the_order_of_their_numbers(bench: Callable[[str], Any]) -> None:
    manifest = bench("cars196").fetched()
    assert manifest.species == tuple(f"{n:03}.Car {letter} C-V" for n, letter in enumerate("FEDCBA", 1))


def test_cars_in_one_folder_are_read_too(cars_in_one_folder: Path) -> None:
    table = downloads.cars196("cache", root=str(cars_in_one_folder)).table
    assert table.row(5) == ("car_ims/000005.jpg", "002.Car E C-V", "test", None, None)
    assert table["split"].value_counts().sort("split").rows() == [("test", 12), ("train", 12)]


def test_clothes_have_queries_and_a_gallery(bench: Callable[[str], Any]) -> None:
    manifest = bench("inshop").fetched()
    splits = split(manifest, "query_gallery")
    assert (len(splits.test.query), len(splits.test.gallery)) == (12, 12)
    assert "id_00000007" not in manifest.species  # a single image
    assert not set(manifest.labels[splits.train]) & set(manifest.labels[splits.test.ids])


def test_clothes_lie_as_the_authors_drive_has_them_too(bench: Callable[[str], Any], tmp_path: Path) -> None:
    manifest = bench("inshop").fetched()
    (tmp_path / "drive" / "Img").mkdir(parents=True)
    (tmp_path / "drive" / "Eval").mkdir()
    (manifest.root / "img").rename(tmp_path / "drive" / "Img" / "img")
    (manifest.root / "list_eval_partition.txt").rename(tmp_path / "drive" / "Eval" / "list_eval_partition.txt")
    again = downloads.inshop("cache", root=str(tmp_path / "drive"))
    assert again.table["path"][0] == f"Img/{manifest.table['path'][0]}"
    assert again.path(0).is_file()


def test_products_are_told_apart_by_their_numbers(bench: Callable[[str], Any]) -> None:
    assert bench("sop").fetched().species[:2] == ("bicycle 00001", "bicycle 00002")


def test_flowers_keep_their_validation_images(bench: Callable[[str], Any]) -> None:
    manifest = bench("flowers102").fetched()
    splits = split(manifest, "seen")
    assert [len(ids) for ids in (splits.train, splits.val.ids, splits.test.ids)] == [12, 12, 24]


def test_species_of_inaturalist_are_named_by_kind_and_number(bench: Callable[[str], Any]) -> None:
    assert bench("inat2018").fetched().species[:2] == ("Aves 0", "Aves 1")


def test_a_list_with_other_fields_is_named_by_line(bench: Callable[[str], Any]) -> None:
    small = bench("sop")
    listed = small.fetched().root / "Ebay_train.txt"
    listed.write_text("image_id class_id super_class_id path\n1 1\n")
    with pytest.raises(DataError, match=r"Ebay_train.txt line 2 has 2 fields, 4 are needed"):
        small.get()


def test_a_file_that_is_no_matlab_file_is_named(bench: Callable[[str], Any]) -> None:
    small = bench("flowers102")
    (small.fetched().root / "setid.mat").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(DataError, match=r"setid.mat is not the expected MATLAB file"):
        small.get()
