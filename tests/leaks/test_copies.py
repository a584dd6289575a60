"""Altered copies are found, other images are not, and a result is computed once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from PIL import Image, ImageOps
from rich.console import Console

from conspecific.data.butterflies.scene import draw_image
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.encoding import Encoders
from conspecific.leaks import copies, perceptual
from conspecific.leaks.copies import CropView, find_copies
from conspecific.leaks.image_hashes import image_hashes
from conspecific.models import Backbone

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of four species, `originals/S/N.png`."""
    root = tmp_path_factory.mktemp("originals")
    for number in range(8):
        (root / f"s{number % 4}").mkdir(exist_ok=True)
        Image.fromarray(draw_image(0, number % 4, number, 160)).save(root / f"s{number % 4}" / f"{number}.png")
    return root


@pytest.fixture
def birds(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals, tmp_path / "birds")


def look(root: Path, cache: Path, key: str = "key") -> tuple[Manifest, pl.DataFrame]:
    manifest = from_folder(str(root))
    found = image_hashes(manifest, key, cache, 2, QUIET)
    return manifest, find_copies(manifest, key, found, cache, Encoders(), QUIET)


def named(manifest: Manifest, pairs: pl.DataFrame) -> list[tuple[str, str, str, str]]:
    paths = manifest.table["path"]
    return [(paths[row["first"]], paths[row["second"]], row["kind"], row["view"]) for row in pairs.to_dicts()]


def test_images_that_differ_are_no_pairs(birds: Path, tmp_path: Path) -> None:
    _, pairs = look(birds, tmp_path / "cache")
    assert pairs.is_empty() and pairs.schema == pl.Schema(copies.SCHEMA)


@pytest.mark.parametrize(
    ("alter", "view"),
    [
        (lambda image: image.resize((100, 100)), "same"),
        (ImageOps.mirror, "mirrored"),
        (lambda image: image.crop((0, 16, 160, 160)), "cropped"),
        (lambda image: image.crop((7, 10, 150, 156)), "cropped"),
        (lambda image: ImageOps.mirror(image.crop((0, 0, 144, 152))), "mirrored and cropped"),
    ],
)
@pytest.mark.parametrize("name", ["a", "z"])
def test_near_copies_are_found_whichever_comes_first(
    alter: Callable[[Image.Image], Image.Image], view: str, name: str, birds: Path, tmp_path: Path
) -> None:
    copied = birds / name / "copy.jpg"
    copied.parent.mkdir()
    alter(Image.open(birds / "s2" / "6.png")).save(copied, quality=80)
    manifest, pairs = look(birds, tmp_path / "cache")
    files = sorted(["s2/6.png", f"{name}/copy.jpg"])
    assert named(manifest, pairs) == [(files[0], files[1], "near", view)]
    assert pairs["similarity"][0] > copies.SIMILAR_CLOSE and pairs["distance"][0] <= copies.RADIUS


def test_identical_files_are_paired_with_the_first_of_them_and_compared_once(birds: Path, tmp_path: Path) -> None:
    for name in ("s1/8.png", "s3/9.png"):
        shutil.copy(birds / "s0" / "0.png", birds / name)
    Image.open(birds / "s0" / "0.png").resize((120, 120)).save(birds / "s3" / "small.png")
    manifest, pairs = look(birds, tmp_path / "cache")
    assert named(manifest, pairs) == [
        ("s0/0.png", "s1/8.png", "exact", "same"),
        ("s0/0.png", "s3/9.png", "exact", "same"),
        ("s0/0.png", "s3/small.png", "near", "same"),
    ]
    assert pairs["similarity"][0] == 1 and pairs["distance"][0] == 0


def test_blank_images_are_pairs_only_as_equal_files(birds: Path, tmp_path: Path) -> None:
    for number, grey in enumerate((127, 128, 128, 129)):
        Image.new("RGB", (64, 64), (grey,) * 3).save(birds / "s0" / f"blank{number}.png")
    manifest, pairs = look(birds, tmp_path / "cache")
    assert named(manifest, pairs) == [("s0/blank1.png", "s0/blank2.png", "exact", "same")]


def test_what_the_network_does_not_confirm_is_no_pair(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.open(birds / "s0" / "0.png").crop((7, 10, 150, 156)).save(birds / "s0" / "copy.png")
    monkeypatch.setattr(copies, "SIMILAR", 1.01)
    monkeypatch.setattr(copies, "CLOSE", -1)
    assert look(birds, tmp_path / "cache")[1].is_empty()


def test_chunks_change_nothing(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        Image.open(birds / "s0" / "0.png").resize((120 + number,) * 2).save(birds / "s1" / f"copy{number}.png")
    _, whole = look(birds, tmp_path / "cache")
    monkeypatch.setattr(copies, "CHUNK", 2)
    monkeypatch.setattr(copies, "BATCH", 1)
    _, subsets = look(birds, tmp_path / "other")
    assert whole.height == 6
    assert whole.drop("similarity").equals(subsets.drop("similarity"))
    assert (whole["similarity"] - subsets["similarity"]).abs().max() < 1e-5


def test_found_once_is_found_without_a_network(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.open(birds / "s0" / "0.png").resize((120, 120)).save(birds / "s3" / "small.png")
    built: list[str] = []

    def build(name: str, weights: str) -> Backbone:
        built.append(name)
        return Backbone(name, weights)

    monkeypatch.setattr(copies, "Backbone", build)
    _, first = look(birds, tmp_path / "cache")
    _, again = look(birds, tmp_path / "cache")
    assert len(built) == 1 and first.equals(again) and first.height == 1
    look(birds, tmp_path / "cache", key="changed")
    assert len(built) == 2
    for number, setting in enumerate(("VERSION", "RADIUS", "SIMILAR"), 3):
        monkeypatch.setattr(copies, setting, getattr(copies, setting) + 1)
        look(birds, tmp_path / "cache")
        assert len(built) == number, setting


def test_a_mirrored_view_is_the_mirror_image_of_the_view(birds: Path) -> None:
    manifest = from_folder(str(birds))
    plain, mirror = (copies._image(manifest, CropView(0, 37, turned)) for turned in (False, True))
    assert plain.shape == (3, copies.IMAGE_SIZE, copies.IMAGE_SIZE) and plain.dtype == torch.uint8
    assert torch.equal(plain.flip(2), mirror)


def test_in_a_large_data_set_whole_copies_are_found_and_cropped_ones_not(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.open(birds / "s0" / "0.png")
    ImageOps.mirror(image).save(birds / "s3" / "mirrored.png")
    image.crop((0, 0, 140, 160)).save(birds / "s3" / "cut.png")
    monkeypatch.setattr(perceptual, "CROPS_UP_TO", 9)
    manifest, pairs = look(birds, tmp_path / "cache")
    assert named(manifest, pairs) == [("s0/0.png", "s3/mirrored.png", "near", "mirrored")]
    monkeypatch.setattr(perceptual, "CROPS_UP_TO", 10)
    _, more = look(birds, tmp_path / "other")
    assert more.height > 1
