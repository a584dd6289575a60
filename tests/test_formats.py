"""Formats of cameras and scanners: raw files by their preview, stacks by their first page, and what is missing here."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from conspecific.errors import ImageError
from conspecific.images import FORMATS, Region, image_suffixes, open_rgb, raw, suffixes, what_is_needed, why_unreadable
from conspecific.images import decode as decoding

Entry = tuple[int, int, list[int] | bytes]
SHORT, LONG, RATIONAL = 3, 4, 5


def half_red(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (200, 30, 30))
    image.paste((20, 20, 220), (size[0] // 2, 0, *size))
    return image


def directory(entries: list[Entry], offset: int) -> bytes:
    """One directory of a TIFF file, which begins at an offset, with its values behind it."""
    fields, behind = struct.pack("<H", len(entries)), b""
    for tag, kind, values in sorted(entries, key=lambda entry: entry[0]):
        size = {1: 1, 2: 1, SHORT: 2, LONG: 4, RATIONAL: 8}[kind]
        content = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{' B HI '[kind]}", *values)
        fields += struct.pack("<HHI", tag, kind, len(content) // size)
        if len(content) > 4:
            fields += struct.pack("<I", offset + 6 + 12 * len(entries) + len(behind))
            behind += content
        else:
            fields += content.ljust(4, b"\0")
    return fields + bytes(4) + behind


def write_dng(file: Path, preview: Image.Image | None, orientation: int = 1) -> None:
    """A raw file of 64 x 48 black pixels as a camera writes it, with a preview in JPEG."""
    stream, side = io.BytesIO(), (64, 48)
    if preview is not None:
        preview.save(stream, "JPEG", quality=95)
    jpeg, pixels = stream.getvalue(), bytes(2 * side[0] * side[1])
    rational = struct.pack("<6I", 1, 1, 1, 1, 1, 1)

    def directories(second: int, at: int) -> tuple[bytes, bytes]:
        size = preview.size if preview else (0, 0)
        shown: list[Entry] = [
            (256, LONG, [size[0]]), (257, LONG, [size[1]]), (258, SHORT, [8, 8, 8]), (259, SHORT, [7]),
            (262, SHORT, [6]), (273, LONG, [at]), (277, SHORT, [3]), (279, LONG, [len(jpeg)]),
        ]  # fmt: skip
        first: list[Entry] = [
            (254, LONG, [1]), *(shown if preview else []), (271, 2, b"Made\0"), (272, 2, b"Up\0"),
            (274, SHORT, [orientation]), (330, LONG, [second]), (50706, 1, bytes([1, 4, 0, 0])),
            (50708, 2, b"Made Up\0"), (50721, RATIONAL, rational * 3), (50728, RATIONAL, rational),
            (50778, SHORT, [21]),
        ]  # fmt: skip
        sensor: list[Entry] = [
            (254, LONG, [0]), (256, LONG, [side[0]]), (257, LONG, [side[1]]), (258, SHORT, [16]), (259, SHORT, [1]),
            (262, SHORT, [32803]), (273, LONG, [at + len(jpeg)]), (277, SHORT, [1]), (279, LONG, [len(pixels)]),
            (33421, SHORT, [2, 2]), (33422, 1, bytes([0, 1, 1, 2])),
        ]  # fmt: skip
        return directory(first, 8), directory(sensor, second)

    one, two = directories(0, 0)
    one, two = directories(8 + len(one), 8 + len(one) + len(two))
    file.write_bytes(b"II*\0" + struct.pack("<I", 8) + one + two + jpeg + pixels)


def is_red(image: Image.Image, place: tuple[int, int]) -> bool:
    red, _, blue = np.asarray(image)[place[1], place[0]].tolist()
    return bool(red > 150 > blue)


def test_a_raw_file_gives_its_preview_upright(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    write_dng(tmp_path / "flat.dng", half_red())
    flat = open_rgb(tmp_path / "flat.dng")
    assert flat.size == (320, 240) and is_red(flat, (10, 100)) and not is_red(flat, (300, 100))
    assert min(open_rgb(tmp_path / "flat.dng", shorter_side=50).size) == 120  # at half its size, as any JPEG
    for orientation, place in ((6, (100, 10)), (8, (100, 310)), (3, (300, 100))):  # what was left is there now
        write_dng(tmp_path / "turned.DNG", half_red(), orientation)
        turned = open_rgb(tmp_path / "turned.DNG")
        assert turned.size == ((320, 240) if orientation == 3 else (240, 320)) and is_red(turned, place)
    assert open_rgb(tmp_path / f"flat.dng{Region(0, 0, 0.5, 1, shares=True).fragment}").size == (240, 240)


def test_a_raw_file_without_a_preview_is_named(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    write_dng(tmp_path / "bare.dng", None)
    assert why_unreadable(tmp_path / "bare.dng") == "it has no preview that can be read: save it as JPEG or TIFF"
    (tmp_path / "text.nef").write_text("no raw file")
    assert why_unreadable(tmp_path / "text.nef") == "it is damaged, or not a raw file of a known camera"
    write_dng(tmp_path / "large.dng", half_red())
    assert "more than 1,000" in str(why_unreadable(tmp_path / "large.dng", max_pixels=1_000))


@pytest.mark.parametrize(
    ("name", "missing", "needed"),
    [
        ("a.NEF", "", r"a \.nef file needs pip install -e '\.\[raw\]'"),
        ("a.heic", "HEIF", r"a \.heic file needs pip install -e '\.\[heic\]'"),
        ("a.avif", "AVIF", r"a \.avif file needs a Pillow that reads AVIF, as 11\.3 and later do"),
    ],
)
def test_what_must_be_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, missing: str, needed: str
) -> None:
    half_red().save(tmp_path / name, "TIFF" if name.endswith("NEF") else "JPEG2000")  # of no known format here
    left = tuple(format for format in FORMATS if format not in (missing, "JPEG2000"))
    monkeypatch.setattr(decoding, "FORMATS", left)
    monkeypatch.setattr(decoding.decode_rgb, "__defaults__", (left,))
    monkeypatch.setattr(raw, "can_open", lambda: False)
    image_suffixes.cache_clear()
    with pytest.raises(ImageError, match=rf"cannot be read as an image: {needed}"):
        open_rgb(tmp_path / name)
    image_suffixes.cache_clear()


def test_nothing_is_needed_for_what_can_be_decoded_or_never_is() -> None:
    assert what_is_needed(".JPG", FORMATS) is None and what_is_needed(".mp4", FORMATS) is None
    assert {what_is_needed(suffix, ("JPEG",)) for suffix in suffixes.HEIC} == {"pip install -e '.[heic]'"}


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_decoded_by_pillow_itself(tmp_path: Path) -> None:
    half_red((64, 48)).save(tmp_path / "photo.avif")
    assert is_red(open_rgb(tmp_path / "photo.avif"), (5, 5))


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_a_stack_gives_its_first_page(tmp_path: Path, mode: str) -> None:
    pages = [
        Image.fromarray(np.full((8, 8), value, np.uint16 if mode == "I;16" else np.uint8)) for value in (9, 90, 200)
    ]
    first, *others = pages if mode != "RGB" else [page.convert("RGB") for page in pages]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    page = tmp_path / "page.tif"
    first.save(page)
    assert open_rgb(tmp_path / "stack.tif").tobytes() == open_rgb(page).tobytes()
