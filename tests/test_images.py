"""Whatever kind of image lies on disk becomes right-side-up RGB, or an OSError."""

import importlib
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conspecific.errors import ImageError
from conspecific.images import FORMATS, cores, modes, open_rgb, why_unreadable, workers_for

RAMP = np.array([[0, 60, 120], [180, 240, 20]], np.uint8)
CORNERS = {(0.25, 0.25): "red", (0.75, 0.25): "lime", (0.25, 0.75): "blue", (0.75, 0.75): "white"}
# How an upright image is stored when the camera writes this orientation.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def pixels(path: Path, shorter_side: int | None = None) -> np.ndarray:
    """[H, W, 3], after checking that this is what came out."""
    image = open_rgb(path, shorter_side)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(path: Path) -> np.ndarray:
    """[H, W] of an image whose channels are equal."""
    found = pixels(path)
    assert (found == found[:, :, :1]).all()
    return found[:, :, 0]


def four_corners(size: tuple[int, int]) -> Image.Image:
    """Red and green above, blue and white below."""
    image = Image.new("RGB", size)
    for (x, y), colour in CORNERS.items():
        left, top = round((x - 0.25) * size[0]), round((y - 0.25) * size[1])
        image.paste(colour, (left, top, left + size[0] // 2, top + size[1] // 2))
    return image


def stored(upright: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    turn = STORED_AS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return upright if turn is None else upright.transpose(turn), exif


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
def test_photographs_are_turned_as_the_camera_says(tmp_path: Path, format: str, orientation: int) -> None:
    image, exif = stored(four_corners((64, 48)), orientation)
    image.save(tmp_path / "photo", format, exif=exif)
    opened = open_rgb(tmp_path / "photo")
    assert opened.size == (64, 48)
    for (x, y), colour in CORNERS.items():
        wanted = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        found = opened.getpixel((round(x * 64), round(y * 48)))
        assert np.abs(np.subtract(found, wanted)).max() < 16, (colour, found)


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "P", "I;16", "I;16B", "CMYK"])
def test_tiff_of_any_mode_is_turned_as_the_camera_says(
    tmp_path: Path, mode: str, compression: str | None, orientation: int
) -> None:
    turned, exif = stored(Image.fromarray(RAMP), orientation)
    if mode.startswith("I;16"):
        wide = np.asarray(turned).astype(">u2" if mode == "I;16B" else "<u2") * np.uint16(257)
        turned = Image.frombytes(mode, turned.size, wide.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    else:
        turned = turned.convert(mode)
    turned.save(tmp_path / "photo.tif", exif=exif, compression=compression)
    np.testing.assert_allclose(pixels(tmp_path / "photo.tif")[:, :, 0].astype(int), RAMP, atol=1)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_large_jpeg_is_decoded_smaller_and_still_turned(tmp_path: Path, orientation: int) -> None:
    image, exif = stored(four_corners((1024, 768)), orientation)
    image.save(tmp_path / "photo.jpg", exif=exif)
    opened = open_rgb(tmp_path / "photo.jpg", shorter_side=64)
    assert opened.size == (256, 192)  # a quarter; an eighth would leave less than twice the side asked for
    assert opened.getpixel((20, 20))[0] > 240  # red
    assert opened.getpixel((20, 170))[2] > 240  # blue


@pytest.mark.parametrize("size", [(100, 80), (128, 128), (255, 300)])
def test_small_jpeg_is_decoded_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    four_corners(size).save(tmp_path / "photo.jpg")
    np.testing.assert_array_equal(pixels(tmp_path / "photo.jpg", shorter_side=64), pixels(tmp_path / "photo.jpg"))


def test_grey_images_keep_their_values(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey(tmp_path / "grey.png"), RAMP)


def test_black_and_white_images_become_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 100).save(tmp_path / "line_art.png")
    np.testing.assert_array_equal(grey(tmp_path / "line_art.png"), np.where(RAMP > 100, 255, 0))


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_cut(tmp_path: Path, mode: str, suffix: str) -> None:
    wide = (RAMP.astype(np.uint16) * 257).astype(">u2" if mode == "I;16B" else "<u2")
    Image.frombytes(mode, (3, 2), wide.tobytes()).save(tmp_path / f"scan.{suffix}")
    np.testing.assert_array_equal(grey(tmp_path / f"scan.{suffix}"), RAMP)


def test_dark_16_bit_grey_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 514, np.uint16)).save(tmp_path / "night.png")
    assert (grey(tmp_path / "night.png") == 2).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 100, 255]], np.int32), [[0, 100, 255]]),
        (np.array([[0, 257, 65535]], np.int32), [[0, 1, 255]]),
        (np.array([[-100, 0, 100]], np.int32), [[0, 128, 255]]),
        (np.array([[0, 500_000, 1_000_000]], np.int32), [[0, 128, 255]]),
        (np.array([[0, 0.2, 1]], np.float32), [[0, 51, 255]]),
        (np.array([[0, 100, 255]], np.float32), [[0, 100, 255]]),
        (np.array([[-0.25, 0, 0.25]], np.float32), [[0, 128, 255]]),
        (np.array([[np.nan, 0, 255]], np.float32), [[0, 0, 255]]),
        (np.array([[7, 7, 7]], np.float32), [[7, 7, 7]]),
    ],
)
def test_wide_grey_is_scaled_from_the_usual_range_it_fits_or_its_own(
    tmp_path: Path, values: np.ndarray, expected: list[list[int]]
) -> None:
    Image.fromarray(values).save(tmp_path / "measured.tif")
    assert grey(tmp_path / "measured.tif").tolist() == expected


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_print_colours_become_screen_colours(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / f"cyan.{suffix}")
    np.testing.assert_allclose(pixels(tmp_path / f"cyan.{suffix}")[8, 8].astype(int), [0, 255, 255], atol=3)


@pytest.mark.parametrize(
    ("mode", "colour", "on_white"),
    [
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (200, 0, 0, 128), (227, 127, 127)),
        ("LA", (40, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
    ],
)
def test_transparent_images_lie_on_white(
    tmp_path: Path, mode: str, colour: tuple[int, ...], on_white: tuple[int, int, int]
) -> None:
    Image.new(mode, (4, 4), colour).save(tmp_path / "cut_out.png")
    np.testing.assert_allclose(pixels(tmp_path / "cut_out.png")[0, 0].astype(int), on_white, atol=1)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_colours_and_their_transparent_one(tmp_path: Path, suffix: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / f"opaque.{suffix}")
    image.save(tmp_path / f"keyed.{suffix}", transparency=1)
    assert pixels(tmp_path / f"opaque.{suffix}").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert pixels(tmp_path / f"keyed.{suffix}").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_one_colour_can_stand_for_transparent(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    image.save(tmp_path / "keyed.png", transparency=(9, 9, 9))
    assert pixels(tmp_path / "keyed.png").tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    frames[0].save(tmp_path / "moving", format, save_all=True, append_images=frames[1:], **options)
    assert pixels(tmp_path / "moving")[8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_an_os_error(tmp_path: Path, format: str, share: float) -> None:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, format)
    (tmp_path / "cut").write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
    with pytest.raises(OSError):
        open_rgb(tmp_path / "cut")


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\xff\xd8\xff", b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_what_is_no_image_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note.jpg").write_bytes(content)
    with pytest.raises(OSError, match=r"note\.jpg cannot be read as an image: not an image of a known format"):
        open_rgb(tmp_path / "note.jpg")


def test_a_broken_chunk_is_an_os_error(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(RAMP).save(whole, "PNG")
    content = whole.getvalue()
    length = content.index(b"IDAT") - 4  # said to be shorter than it is, so that data is read as the next chunk's name
    (tmp_path / "broken.png").write_bytes(content[:length] + (4).to_bytes(4, "big") + content[length + 4 :])
    with pytest.raises(OSError, match="broken PNG"):
        open_rgb(tmp_path / "broken.png")


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_file_of_any_format_is_read_or_named(tmp_path: Path, format: str) -> None:
    rng, whole = np.random.default_rng(0), io.BytesIO()
    image = Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8))
    importlib.import_module("pillow_heif").from_pillow(image).save(whole) if format == "HEIF" else image.save(
        whole, format
    )
    file, reasons = tmp_path / "damaged", []
    for number in range(30):
        damaged = np.frombuffer(whole.getvalue(), np.uint8).copy()
        reach = 100 if number % 2 else len(damaged)  # headers are small, and decide what is decoded
        damaged[rng.integers(0, reach, 4)] = rng.integers(0, 256, 4)
        file.write_bytes(damaged[: len(damaged) if number % 3 else rng.integers(len(damaged))].tobytes())
        with warnings.catch_warnings(action="ignore"):
            reasons.append(why_unreadable(file))
        if reasons[-1] is not None:
            with pytest.raises(ImageError, match="damaged cannot be read as an image: "), warnings.catch_warnings():
                open_rgb(file)
    assert any(reasons), "a file that is cut off cannot be read"


@pytest.mark.parametrize("format", ["EPS", "PSD", "ICO", "WMF"])
def test_formats_that_start_programs_or_hold_no_photographs_are_not_tried(tmp_path: Path, format: str) -> None:
    contents = {
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
        "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x08\0\3" + bytes(16),
        "ICO": b"\0\0\1\0\1\0" + bytes(16),
        "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(30),
    }
    (tmp_path / "photo.jpg").write_bytes(contents[format])
    assert why_unreadable(tmp_path / "photo.jpg") == "not an image of a known format"


def test_the_limit_of_pixels_is_of_the_decoded_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own, which does not apply
    Image.new("L", (640, 640)).save(tmp_path / "scan.png")
    Image.new("L", (640, 640)).save(tmp_path / "scan.jpg")
    assert open_rgb(tmp_path / "scan.png", 32, max_pixels=640 * 640).size == (640, 640)
    assert open_rgb(tmp_path / "scan.jpg", 32, max_pixels=6400).size == (80, 80)
    assert Image.MAX_IMAGE_PIXELS == 1000
    for name in ("scan.png", "scan.jpg"):
        with pytest.raises(ImageError, match=r"640 x 640 pixels are 409,600, more than 409,599: set data\.max_pixels"):
            open_rgb(tmp_path / name, max_pixels=640 * 640 - 1)


def test_all_pixels_of_a_progressive_jpeg_count(tmp_path: Path) -> None:
    Image.new("L", (640, 640)).save(tmp_path / "scan.jpg", progressive=True)
    assert open_rgb(tmp_path / "scan.jpg", 32, max_pixels=640 * 640).size == (80, 80)
    with pytest.raises(ImageError, match=r"640 x 640 pixels are 409,600, more than 409,599"):
        open_rgb(tmp_path / "scan.jpg", 32, max_pixels=640 * 640 - 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_a_large_image_is_converted_in_strips_to_the_same_pixels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (23, 17, 4), np.uint8)
    if mode in ("I;16", "I", "F"):
        kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        image = Image.fromarray((noise[:, :, 0] * 300.0 - (mode != "I;16") * 99).astype(kinds[mode]))
    else:
        image = Image.fromarray(noise).convert(mode)
    whole = modes.to_rgb(image)
    monkeypatch.setattr(modes, "STRIP_PIXELS", 80)
    assert modes.to_rgb(image).tobytes() == whole.tobytes()


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    reasons = {
        "pipe": "not a regular file",
        "device": "not a regular file",
        "loop": "too many levels of symbolic links",
    }
    for name, reason in reasons.items():
        assert why_unreadable(tmp_path / f"{name}.jpg") == reason


def test_heic_is_decoded_where_its_extra_is_installed(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(four_corners((64, 48))).save(tmp_path / "photo.heic")
    opened = open_rgb(tmp_path / "photo.heic")
    assert opened.size == (64, 48) and opened.getpixel((50, 10))[1] > 240


def test_missing_files_and_folders_are_named_once(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.jpg"):
        with pytest.raises(ImageError) as caught:
            open_rgb(path)
        reason = "is a directory" if path.is_dir() else "no such file or directory"
        assert str(caught.value) == f"{path} cannot be read as an image: {reason}"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no processor affinity")
def test_only_cores_that_the_process_may_use_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert cores() == workers_for(None) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(40)))
    assert (cores(), workers_for(None), workers_for(12)) == (40, 8, 12)
