"""Boxes of a table: several rows an image, each a part of it, on one side of every split, and decoded once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from conspecific.cli.arguments import divide, read
from conspecific.cli.commands import COMMANDS
from conspecific.data.boxes import with_boxes
from conspecific.data.check import check_manifest
from conspecific.data.dataset import EvaluationImages, TrainingImages
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_file
from conspecific.data.splits import split
from conspecific.errors import DataError
from conspecific.images import decode
from conspecific.leaks.image_hashes import image_hashes

HEADER = "path,label,x,y,width,height\n"


@pytest.fixture
def birds(make_folder: Callable[..., Path]) -> Path:
    """Twelve images of 40 x 32 pixels of each of two species."""
    return make_folder({"robin": 12, "wren": 12})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded, in no certain order."""
    names: list[str] = []
    plain = decode._decode

    def decode_and_tell(file: Path, shorter_side: int | None, max_pixels: int) -> object:
        names.append(file.name)
        return plain(file, shorter_side, max_pixels)

    monkeypatch.setattr(decode, "_decode", decode_and_tell)
    return names


def three_boxes_each(birds: Path, **options: float) -> Manifest:
    rows = [
        f"{species}/{number:02}.png,{species},{x},4,16,16\n"
        for x in (0, 12, 24)  # rows of one image are far apart
        for species in ("robin", "wren")
        for number in range(12)
    ]
    (birds / "boxes.csv").write_text(HEADER + "".join(rows))
    return from_file(str(birds / "boxes.csv"), **options)  # type: ignore[arg-type]


def forget(decoded: list[str]) -> None:
    """Begin another pass, of a set of which the first images are not kept any more."""
    decoded.clear()
    decode._last_decoded.forget()


def test_each_image_is_decoded_once_a_pass_whatever_its_boxes(birds: Path, decoded: list[str], tmp_path: Path) -> None:
    manifest = three_boxes_each(birds, margin=0.1)
    files = sorted([f"{number:02}.png" for number in range(12)] * 2)
    checked, key = check_manifest(manifest, tmp_path / "cache")
    assert sorted(decoded) == files
    forget(decoded)
    images = EvaluationImages(checked, np.arange(len(checked)), 16)
    boxes = [images[place]["image"] for place in range(len(images))]
    assert sorted(decoded) == files and len(boxes) == 72 and not (boxes[0] == boxes[1]).all()
    forget(decoded)
    hashes = image_hashes(checked, key, tmp_path / "cache", 2, Console(quiet=True))
    assert sorted(decoded) == files and len(set(hashes.contents)) == 72
    forget(decoded)
    training = TrainingImages(checked, (0.5, 1.0), 0.1)
    assert len([view for row in range(6) for view in training.augmented(row, [1, 2], 16)]) == 12
    assert len(decoded) == 2


def test_boxes_of_an_image_are_on_one_side_unless_a_group_says_otherwise(birds: Path) -> None:
    manifest = three_boxes_each(birds)
    assert manifest.describe()[0].startswith("Data: 72 boxes in 24 images of 2 species, 24 groups in ")
    parts = split(manifest, "seen")
    sides = [set(manifest.table["group"].gather(ids).to_list()) for ids in (parts.train, parts.val.ids, parts.test.ids)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])

    table = pl.read_csv(birds / "boxes.csv").with_columns(group=pl.Series([f"site {row % 5}" for row in range(72)]))
    table.with_columns(pl.when(pl.col("x") > 0).then("group").alias("group")).write_csv(birds / "sites.csv")
    sites = from_file(str(birds / "sites.csv")).table
    assert sites["group"].str.starts_with("site").sum() == 48
    assert sites.filter(~pl.col("group").str.starts_with("site"))["group"][0] == "robin/00.png"


def test_a_box_names_its_own_part_wherever_it_is_opened(birds: Path) -> None:
    manifest = three_boxes_each(birds, margin=0.25)
    assert manifest.table["path"][1] == "robin/00.png#xywh=12,4,16,16&margin=0.25"
    assert manifest.open_rgb(1).size == (24, 24)
    fingerprints = {three_boxes_each(birds, margin=margin).fingerprint() for margin in (0, 0.25)}
    assert len(fingerprints) == 2
    again = Manifest.from_table(birds, with_boxes(manifest.table))  # from a table that this program wrote
    assert again.table["path"].to_list() == manifest.table["path"].to_list() and again.grouped


def test_rows_without_a_box_are_whole_images(birds: Path) -> None:
    rows = "robin/00.png,robin,,,,", "robin/00.png,robin,0,0,.5,.5", "wren/00.png,wren,,,,"
    (birds / "some.csv").write_text(HEADER + "\n".join(rows))
    manifest = from_file(str(birds / "some.csv"))
    assert [manifest.open_rgb(row).size for row in range(3)] == [(40, 32), (20, 20), (40, 32)]
    assert manifest.table["group"].to_list() == ["robin/00.png", "robin/00.png", None]
    assert manifest.table["path"][1] == "robin/00.png#xywh=percent:0,0,50,50"


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (["0,0,,5"], r"1 manifest rows have an incomplete box: .* first rows \[1\]"),
        (["0,0,5,5", "0,0,nan,5"], r"a number that is not finite, or too large; first rows \[2\]"),
        (["0,0,inf,5"], "not finite"),
        (["0,0,1e12,5"], "too large"),
        (["0,0,0,5"], "a box whose width or height is not above 0"),
        (["0,0,5,-5"], "a box whose width or height is not above 0"),
        (["0,0,.5,.5", "0,0,20,20"], r"1 .* in shares .*first rows \[1\]\), and 1 one in pixels \(first rows \[2\]\)"),
        (["0,0,wide,5"], "the columns x, y, width and height hold numbers, or nothing"),
    ],
)
def test_boxes_without_a_meaning_are_refused_with_their_rows(birds: Path, boxes: list[str], message: str) -> None:
    (birds / "odd.csv").write_text(HEADER + "".join(f"robin/00.png,robin,{box}\n" for box in boxes))
    with pytest.raises(DataError, match=message):
        from_file(str(birds / "odd.csv"))


def test_boxes_that_leave_their_image_are_counted_like_images_that_cannot_be_read(birds: Path, tmp_path: Path) -> None:
    rows = [f"{kind}/{number:02}.png,{kind},8,8,16,16\n" for kind in ("robin", "wren") for number in range(12)]
    far = "wren/00.png,wren,30,8,16,16\nwren/01.png,wren,0,40,9,9\n"
    (birds / "far.csv").write_text(HEADER + "".join(rows) + far)
    with pytest.raises(DataError, match=r"2 images cannot be read: .*#xywh=30,8,16,16 \(its box 30,8,16,16 "):
        check_manifest(from_file(str(birds / "far.csv")), tmp_path)
    skipping = from_file(str(birds / "far.csv"), on_bad="skip", max_bad_share=0.1)
    kept, _ = check_manifest(skipping, tmp_path)
    assert len(kept) == 24 and len(kept.unreadable) == 2


def test_a_margin_out_of_range_is_refused(birds: Path) -> None:
    with pytest.raises(DataError, match=r"data\.margin is a share .* from 0 to 10; found -0\.1"):
        three_boxes_each(birds, margin=-0.1)


def test_one_box_twice_is_a_repeated_row(birds: Path, tmp_path: Path) -> None:
    (birds / "twice.csv").write_text(HEADER + "robin/00.png,robin,0,0,9,9\n" * 2 + "wren/00.png,wren,0,0,9,9\n")
    with pytest.raises(DataError, match=r"1 paths appear more than once: .*Keep one row per image, or per box"):
        check_manifest(from_file(str(birds / "twice.csv")), tmp_path)


def test_a_part_of_an_image_is_named_on_the_command_line_as_its_file_is() -> None:
    box = "robin.jpg#xywh=percent:10,20,30,40&margin=0.1"
    config = read(COMMANDS["search"], divide(COMMANDS["search"], ["RUN", box, "k=3"]))
    assert config.images == [box] and config.k == 3
