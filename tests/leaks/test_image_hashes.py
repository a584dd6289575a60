"""Copies have near hashes, other images do not, and hashes are computed once."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console

from conspecific.data.butterflies.scene import draw_image
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.leaks import image_hashes as hashing
from conspecific.leaks.image_hashes import ImageHashes, image_hashes
from conspecific.leaks.perceptual import BITS, SIDE, crop_box, mirrored, perceptual_hashes

QUIET = Console(quiet=True)
SIZE = 160


def bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.bitwise_count(one ^ other).sum(axis=-1, dtype=int)


def hashed(image: Image.Image) -> np.ndarray:
    square = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return perceptual_hashes(np.asarray(square, np.float32)[None])[0]


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [Image.fromarray(draw_image(0, species, 0, SIZE)) for species in range(8)]


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=30)
    return Image.open(stream)


def shifted(left: int, top: int, right: int, bottom: int) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.crop((left, top, SIZE - right, SIZE - bottom))


@pytest.mark.parametrize(
    ("alter", "radius"),
    [
        (recompressed, 24),
        (lambda image: image.resize((97, 96)), 24),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.7), 24),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.6), 24),
        (shifted(8, 0, 0, 0), 40),
        (shifted(0, 24, 0, 0), 40),
        (shifted(0, 0, 16, 8), 40),
        (shifted(12, 3, 12, 20), 64),
        (shifted(3, 5, 9, 13), 64),
    ],
)
def test_an_altered_copy_is_near_some_crop_of_its_image(
    alter: Callable[[Image.Image], Image.Image], radius: int, images: list[Image.Image]
) -> None:
    for image in images:
        assert bits(hashed(alter(image))[0], hashed(image)).min() <= radius


def test_other_images_are_far(images: list[Image.Image]) -> None:
    hashes = [hashed(image) for image in images]
    for one in range(8):
        for other in range(8):
            if one != other:
                assert bits(hashes[one][0], hashes[other]).min() > 70
                assert bits(mirrored(hashes[one][0]), hashes[other]).min() > 70


def test_hash_of_the_mirror_image_is_the_mirrored_hash(images: list[Image.Image]) -> None:
    for image in images:
        flipped = hashed(ImageOps.mirror(image))
        assert bits(mirrored(hashed(image)[0]), flipped[0]) <= 2
        assert bits(hashed(image)[0], flipped[0]) > 60
    assert np.array_equal(mirrored(mirrored(flipped)), flipped)


def test_crops_leave_most_of_the_image(images: list[Image.Image]) -> None:
    boxes = [crop_box(crop) for crop in range(hashed(images[0]).shape[0])]
    assert len(set(boxes)) == len(boxes) == 100
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        assert min(right - left, bottom - top) > 0.849


@pytest.mark.parametrize("crop", [3, 17, 40, 99])
def test_a_crop_is_hashed_as_if_it_were_an_image_of_its_own(crop: int, images: list[Image.Image]) -> None:
    box = tuple(round(share * SIZE) for share in crop_box(crop))
    for image in images:
        assert bits(hashed(image.crop(box))[0], hashed(image)).argmin() == crop


def folder(tmp_path: Path, images: list[Image.Image]) -> Manifest:
    for number, image in enumerate(images):
        (tmp_path / "birds" / "wren").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "birds" / "wren" / f"{number:02}.png")
    return from_folder(str(tmp_path / "birds"))


def same(one: ImageHashes, other: ImageHashes) -> bool:
    arrays = np.array_equal(one.hashes, other.hashes) and np.array_equal(one.blank, other.blank)
    return one.contents == other.contents and arrays


@pytest.mark.parametrize(("block", "workers"), [(256, 2), (3, 1)])
def test_rows_are_those_of_the_manifest(
    block: int, workers: int, images: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "BLOCK", block)
    manifest = folder(tmp_path, [*images, images[2]])
    found = image_hashes(manifest, "key", tmp_path / "cache", workers, QUIET)
    assert found.contents[8] == found.contents[2] and len(set(found.contents)) == 8
    assert found.hashes.shape == (9, 100, BITS // 8)
    for row, image in enumerate(images):
        assert bits(found.hashes[row, 0], hashed(image)[0]) <= 2
    assert not found.blank.any()


def test_images_without_contrast_are_blank(images: list[Image.Image], tmp_path: Path) -> None:
    faint = Image.fromarray(np.random.default_rng(0).integers(120, 126, (SIZE, SIZE), np.uint8))
    plain = [Image.new("L", (SIZE, SIZE), grey) for grey in (0, 128, 255)]
    found = image_hashes(folder(tmp_path, [*plain, faint, images[0]]), "key", tmp_path / "cache", 1, QUIET)
    assert found.blank.tolist() == [True, True, True, True, False]


def test_cached_hashes_are_read_and_no_image_is(
    images: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = folder(tmp_path, images)
    first = image_hashes(manifest, "key", tmp_path / "cache", 1, QUIET)
    [entry] = (tmp_path / "cache" / "image_hashes").iterdir()
    assert sorted(file.name for file in entry.iterdir()) == ["checksums.json", "hashes.npz"]
    for path in manifest.table["path"]:
        (manifest.root / path).unlink()
    assert same(image_hashes(manifest, "key", tmp_path / "cache", 1, QUIET), first)
    with pytest.raises(OSError):
        image_hashes(manifest, "other", tmp_path / "cache", 1, QUIET)
    monkeypatch.setattr(hashing, "VERSION", hashing.VERSION + 1)
    with pytest.raises(OSError):
        image_hashes(manifest, "key", tmp_path / "cache", 1, QUIET)


def test_a_damaged_cache_is_computed_again(
    images: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, told = folder(tmp_path, images[:2]), Console(width=500)
    first = image_hashes(manifest, "key", tmp_path / "cache", 1, told)
    [file] = (tmp_path / "cache" / "image_hashes").glob("*/hashes.npz")
    changed = bytearray(file.read_bytes())
    changed[600] ^= 1
    file.write_bytes(changed)
    assert same(image_hashes(manifest, "key", tmp_path / "cache", 1, told), first)
    assert "cannot be used, hashes.npz was changed: it is made again." in capsys.readouterr().out
