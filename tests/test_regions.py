"""A path may end in a box: whatever opens it gets that part of the image, and each image is decoded once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from conspecific.errors import ImageError
from conspecific.images import Region, decode, file_of, image_hash, image_tensor, open_rgb, why_outside
from conspecific.images.last_decoded import KEPT_IMAGES, LastDecoded


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """200 x 100 pixels, of which each says where it is: red is x, green is y."""
    x, y = np.meshgrid(np.arange(200), np.arange(100))
    Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8)).save(tmp_path / "board.png")
    return tmp_path / "board.png"


@pytest.mark.parametrize(
    ("box", "left_top", "size"),
    [
        ("10,20,40,40", (10, 20), (40, 40)),
        ("percent:5,20,20,40", (10, 20), (40, 40)),
        ("10,20,40,40&margin=0.25", (0, 10), (60, 60)),  # on all sides
        ("10,20,40,10", (10, 5), (40, 40)),  # the square that is seen holds the whole box
        ("0,0,10,40", (0, 0), (40, 40)),  # moved into the image
        ("0,0,200,100", (0, 0), (200, 100)),
        ("-0.6,60,40.6,40.4", (0, 60), (40, 40)),  # rounded beyond the edges
    ],
)
def test_what_a_box_cuts_out(board: Path, box: str, left_top: tuple[int, int], size: tuple[int, int]) -> None:
    found = open_rgb(board.with_name(f"board.png#xywh={box}"))
    assert found.size == size
    assert found.getpixel((0, 0)) == (*left_top, 0)


@pytest.mark.parametrize("box", ["150,20,60,40", "10,20,40,90", "-5,0,20,20", "percent:90,10,20,20", "1,1,0,5"])
def test_a_box_that_leaves_its_image_is_named_with_the_size(board: Path, box: str) -> None:
    with pytest.raises(ImageError, match=rf"its box {box} .* is not inside its 200 x 100 pixels"):
        open_rgb(board.with_name(f"board.png#xywh={box}"))


def test_boxes_are_those_of_the_image_as_it_is_shown(board: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turned by a quarter
    turned = board.with_name("turned.jpg")
    Image.open(board).save(turned, exif=exif)
    box = Region(0, 150, 100, 50)
    assert why_outside(turned, [box, Region(150, 0, 50, 100)]) == [
        None,
        "its box 150,0,50,100 (x,y,width,height) is not inside its 100 x 200 pixels",
    ]
    assert open_rgb(turned.with_name(turned.name + box.fragment)).size == (100, 100)


@given(
    st.tuples(*[st.floats(0, 0.5)] * 2, *[st.floats(0.001, 0.5)] * 2),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(0, 3),
    st.booleans(),
)
def test_a_box_inside_an_image_cuts_out_pixels_of_it_whatever_its_numbers(
    box: tuple[float, float, float, float], width: int, height: int, margin: float, shares: bool
) -> None:
    scale = (1, 1) if shares else (width, height)
    x, y, w, h = (number * scale[place % 2] for place, number in enumerate(box))
    region = Region.of(f"a.jpg{Region(x, y, w, h, shares, margin).fragment}")
    assert region is not None and region.fragment == Region.of(region.fragment).fragment  # type: ignore[union-attr]
    if region.width and region.height:  # not rounded to nothing
        left, top, right, bottom = region.pixels((width, height))
        assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_names_that_only_look_like_boxes_are_names() -> None:
    for name in ("a#1.jpg", "a.jpg#xywh=1,2,3", "a.jpg#xywh=1,2,3,4.jpg", "#xywh=1,2,3,x", "a.jpg#xywh=1e3,2,3,4"):
        assert Region.of(name) is None and file_of(name) == name
    assert file_of("a#1.jpg#xywh=1,2,3,4") == "a#1.jpg"


def test_a_box_is_its_own_content(board: Path) -> None:
    whole, first, second = board, *(board.with_name(f"board.png#xywh={box}") for box in ("0,0,9,9", "0,0,9,8"))
    assert len({image_hash(whole), image_hash(first), image_hash(second)}) == 3
    assert image_tensor(first, 8).shape == (3, 8, 8)


def test_boxes_of_an_image_in_succession_decode_it_once(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    plain = decode.decode_rgb

    def count(*arguments: object) -> Image.Image:
        decoded.append(1)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "decode_rgb", count)
    boxes = [board.with_name(f"board.png#xywh={x},0,20,20") for x in range(60)]
    with ThreadPoolExecutor(8) as pool:
        cut = list(pool.map(open_rgb, boxes))
    assert [image.getpixel((0, 0)) for image in cut] == [(x, 0, 0) for x in range(60)]
    assert len(decoded) == 1
    Image.new("RGB", (300, 100)).save(board)  # another image under this name
    assert open_rgb(boxes[5]).getpixel((0, 0)) == (0, 0, 0) and len(decoded) == 2


def test_only_a_few_images_are_kept_and_none_that_failed() -> None:
    kept, made = LastDecoded(), []

    def make(key: int) -> Callable[[], Image.Image]:
        def image() -> Image.Image:
            made.append(key)
            return Image.new("RGB", (1, 1))

        return image

    def fail() -> Image.Image:
        raise ValueError("damaged")

    for key in [*range(KEPT_IMAGES + 1), KEPT_IMAGES, 0]:
        kept.get(key, make(key))
    assert made == [*range(KEPT_IMAGES + 1), 0]
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            kept.get("bad", fail)
    kept.get("bad", make(99))
    assert made[-1] == 99


def test_a_child_process_does_not_wait_for_a_lock_that_nobody_holds() -> None:
    kept, held = LastDecoded(), threading.Event()
    kept._lock.acquire()
    kept.forget()  # what is done in a child after fork
    threading.Thread(target=lambda: (kept.get(1, lambda: Image.new("RGB", (1, 1))), held.set())).start()
    assert held.wait(5)
