"""All problems of the data are counted and named in one message."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL
import polars as pl
import pytest
from PIL import Image

from conspecific.data import check
from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest, Reading
from conspecific.data.sources import from_file, from_folder, from_images
from conspecific.errors import DataError
from conspecific.images import decode


@pytest.fixture
def birds(make_folder: Callable[..., Path]) -> Manifest:
    return from_folder(str(make_folder({"robin": 3, "wren": 2})))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were decoded, in no certain order."""
    names: list[str] = []
    plain = check.why_unreadable

    def decode_and_tell(path: Path, max_pixels: int) -> str | None:
        names.append(path.name)
        return plain(path, max_pixels)

    monkeypatch.setattr(check, "why_unreadable", decode_and_tell)
    return names


def with_row(manifest: Manifest, path: str, label: str = "robin", **named: str) -> Manifest:
    row = pl.DataFrame([{"path": path, "label": label, "split": None, "role": None, **named}], manifest.table.schema)
    return Manifest.from_table(manifest.root, pl.concat([manifest.table, row]), manifest.empty)


def message_of(manifest: Manifest, cache: Path, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        check_manifest(manifest, cache, **options)
    return str(caught.value)


def raiser(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_good_data_gives_its_fingerprint(birds: Manifest, tmp_path: Path) -> None:
    assert check_manifest(birds, tmp_path / "cache") == (birds, birds.fingerprint())


def test_images_that_passed_once_are_not_decoded_again(birds: Manifest, tmp_path: Path, decoded: list[str]) -> None:
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 5
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 5


def test_changed_images_are_decoded_again(birds: Manifest, tmp_path: Path, decoded: list[str]) -> None:
    check_manifest(birds, tmp_path / "cache")
    (birds.root / "wren" / "00.png").write_bytes(b"no image any more")
    assert "1 images cannot be read: wren/00.png (not an image of a known format)" in message_of(
        birds, tmp_path / "cache"
    )
    assert len(decoded) == 10


def test_images_are_decoded_again_by_another_decoder(
    birds: Manifest, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_manifest(birds, tmp_path / "cache")
    check_manifest(replace(birds, reading=Reading(max_pixels=10_000)), tmp_path / "cache")
    assert len(decoded) == 10
    monkeypatch.setattr(PIL, "__version__", "14")
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 15


def test_only_bad_images_are_decoded_again(
    birds: Manifest, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(decode, "to_rgb", raiser(PermissionError(13, "Permission denied")))
        assert "5 images cannot be read: robin/00.png (permission denied)" in message_of(birds, tmp_path / "cache")
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 5 + 5
    (birds.root / "wren" / "00.png").write_bytes(b"no image")
    assert message_of(birds, tmp_path / "cache") == message_of(birds, tmp_path / "cache")
    assert len(decoded) == 5 + 5 + 5 + 1


def test_images_above_the_limit_are_named_with_the_key(birds: Manifest, tmp_path: Path) -> None:
    small = replace(birds, reading=Reading(max_pixels=1279))
    told = "40 x 32 pixels are 1,280, more than 1,279: set data.max_pixels, or store it smaller"
    assert f"5 images cannot be read: robin/00.png ({told})" in message_of(small, tmp_path / "cache")
    check_manifest(replace(birds, reading=Reading(max_pixels=1280)), tmp_path / "cache")


BAD = "robin/gone.png (a link to nowhere), wren/02.png (image file is truncated)"


@pytest.fixture
def damaged(make_folder: Callable[..., Path]) -> Path:
    """Ten images of which one is cut off, and a broken link."""
    root = make_folder({"robin": 5, "wren": 4})
    (root / "wren" / "02.png").write_bytes((root / "wren" / "02.png").read_bytes()[:-100])
    (root / "robin" / "gone.png").symlink_to("nowhere.png")
    return root


def test_bad_images_can_be_skipped_and_are_named(damaged: Path, tmp_path: Path, decoded: list[str]) -> None:
    for _ in range(2):
        kept, fingerprint = check_manifest(from_folder(str(damaged), "skip", 0.2), tmp_path / "cache")
        assert [len(kept), kept.labels.tolist()] == [8, [0] * 5 + [1] * 3]
        assert fingerprint == kept.fingerprint()
        assert kept.describe() == [
            f"Data: 8 images of 2 species in {damaged}",
            f"2 images that cannot be read are left out: {BAD}.",
        ]
    assert len(decoded) == 9 + 1


def test_more_bad_images_than_the_share_are_refused(damaged: Path, tmp_path: Path) -> None:
    told = f"2 images cannot be read: {BAD}. That is 20.0% of all images, more than data.max_bad_share=0.19. "
    assert told in message_of(from_folder(str(damaged), "skip", 0.19), tmp_path / "cache")
    assert "leave them out with data.on_bad=skip" in message_of(from_folder(str(damaged)), tmp_path / "cache")


def test_a_species_that_is_left_with_one_image_or_none_is_named(damaged: Path, tmp_path: Path) -> None:
    for number in (0, 1):
        (damaged / "wren" / f"0{number}.png").write_bytes(b"")
    found, _ = check_manifest(from_folder(str(damaged), "skip", 1), tmp_path / "cache")
    assert "1 species with a single image: wren." in found.describe_lone()
    with_two, _ = check_manifest(from_folder(str(damaged), "skip", 1, min_images=2), tmp_path / "cache")
    assert with_two.few == ("wren",) and "1 species with fewer than 2 images" in with_two.describe_left_out()
    (damaged / "wren" / "03.png").write_bytes(b"")
    assert "1 species folders hold no image: wren." in message_of(
        from_folder(str(damaged), "skip", 1), tmp_path / "cache"
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"on_bad": "drop"}, "data.on_bad=drop is unknown"),
        ({"max_bad_share": 1.5}, "data.max_bad_share is a share, from 0 to 1; found 1.5"),
        ({"max_pixels": 0}, "data.max_pixels must be 1 or more; found 0"),
    ],
)
def test_how_images_are_read_is_checked(given: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        Reading(**given)


def test_other_faults_are_found_in_images_that_passed(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "owl").mkdir()
    empty = from_folder(str(birds.root))
    check_manifest(empty, tmp_path / "cache", scored=False)
    assert "1 species folders hold no image: owl" in message_of(empty, tmp_path / "cache")


@pytest.mark.parametrize("size", [0, 40])
def test_unreadable_images_are_named_with_their_folder(size: int, birds: Manifest, tmp_path: Path) -> None:
    for name in ("robin/00.png", "wren/01.png"):
        (birds.root / name).write_bytes((birds.root / name).read_bytes()[:size])
    message = message_of(birds, tmp_path / "cache")
    assert "2 images cannot be read: robin/00.png (" in message
    assert ", wren/01.png (" in message


def test_missing_files_are_named(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "robin" / "02.png").unlink()
    message = message_of(birds, tmp_path / "cache")
    assert f"1 files are missing: robin/02.png. Paths are relative to {birds.root}." in message


def test_broken_links_are_missing_files(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "robin" / "link.png").symlink_to(tmp_path / "nowhere.png")
    assert "1 files are missing: robin/link.png (a link to nowhere)." in message_of(
        from_folder(str(birds.root)), tmp_path / "cache"
    )


def test_folders_pipes_and_loops_of_links_are_no_files(birds: Manifest, tmp_path: Path) -> None:
    assert "1 files are missing: robin (a folder)." in message_of(with_row(birds, "robin"), tmp_path / "cache")
    os.mkfifo(birds.root / "robin" / "pipe.png")
    (birds.root / "robin" / "loop.png").symlink_to("loop.png")
    told = "robin/loop.png (a link to nowhere), robin/pipe.png (not a regular file). Paths are relative"
    assert f"2 files are missing: {told}" in message_of(from_folder(str(birds.root)), tmp_path / "cache")


@pytest.mark.parametrize("way", ["../outside.png", "robin/../../outside.png", "absolute", "robin/link.png"])
def test_paths_that_leave_the_root_are_named(way: str, birds: Manifest, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    (birds.root / "robin" / "link.png").symlink_to(outside)
    path = str(outside) if way == "absolute" else way
    assert f"1 paths are outside the root folder: {path}." in message_of(with_row(birds, path), tmp_path / "cache")


def test_a_folder_whose_name_begins_like_the_root_is_outside(birds: Manifest, tmp_path: Path) -> None:
    (tmp_path / "birds2").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "birds2" / "a.png")
    assert "1 paths are outside the root folder" in message_of(with_row(birds, "../birds2/a.png"), tmp_path / "cache")


def test_the_root_folder_may_be_the_root_of_the_file_system(birds: Manifest, tmp_path: Path) -> None:
    paths = [str(birds.path(index)).lstrip("/") for index in range(len(birds))]
    everywhere = Manifest.from_table(Path("/"), birds.table.with_columns(pl.Series("path", paths)))
    check_manifest(everywhere, tmp_path / "cache")


def test_links_in_a_folder_of_the_user_may_leave_it(birds: Manifest, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    for name in ("robin", "wren"):
        (tmp_path / "album" / name).symlink_to(birds.root / name)
    album = from_folder(str(tmp_path / "album"))
    assert album.table["path"].to_list() == birds.table["path"].to_list()
    check_manifest(album, tmp_path / "cache")


def test_paths_of_a_downloaded_list_leave_the_root_by_no_other_way_than_links(birds: Manifest, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    for path in ("../outside.png", str(tmp_path / "outside.png")):
        row = with_row(birds, path)
        listed = Manifest.from_table(row.root, row.table, own_links=True)
        assert f"1 paths are outside the root folder: {path}." in message_of(listed, tmp_path / "cache")


def test_links_inside_the_root_may_stay(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "robin" / "link.png").symlink_to(birds.root / "robin" / "00.png")
    check_manifest(with_row(birds, "robin/link.png"), tmp_path / "cache")


@pytest.mark.parametrize("again", ["robin/00.png", "./robin/00.png", "wren/../robin/00.png"])
def test_images_that_appear_twice_are_named(again: str, birds: Manifest, tmp_path: Path) -> None:
    message = message_of(with_row(birds, again), tmp_path / "cache")
    assert "1 paths appear more than once: robin/00.png. Keep one row per image, or per box of it." in message


def test_unknown_split_and_role_names_are_named_with_their_neighbours(birds: Manifest, tmp_path: Path) -> None:
    strange = birds.table.with_columns(pl.lit("tset").alias("split"), pl.lit("galery").alias("role"))
    message = message_of(Manifest.from_table(birds.root, strange), tmp_path / "cache")
    assert "split 'tset' is unknown. Did you mean test?" in message
    assert "role 'galery' is unknown. Did you mean gallery?" in message


def test_empty_species_folders_are_named(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "owl").mkdir()
    message = message_of(from_folder(str(birds.root)), tmp_path / "cache")
    assert "1 species folders hold no image: owl. Remove them or add images." in message


def test_images_that_are_not_scored_need_no_company(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"robin": 1, "wren": 1})
    (root / "owl").mkdir()
    check_manifest(from_folder(str(root)), tmp_path / "cache", scored=False)


def test_images_without_species_are_embedded_but_not_scored(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    flat = from_images(str(make_folder({"robin": 3}) / "robin"))
    check_manifest(flat, tmp_path / "cache", scored=False)
    told = f"the 3 images in {flat.root} have no species to train on or to score: all are in one folder, "
    assert message_of(flat, tmp_path / "cache").startswith(told)


def test_everything_wrong_is_in_one_message(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "robin" / "00.png").write_bytes(b"no image")
    (birds.root / "robin" / "01.png").unlink()
    (birds.root / "owl").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    wrong = with_row(with_row(birds, "../outside.png", "kite"), "wren/00.png", "wren", split="trian", role="queries")
    message = message_of(Manifest.from_table(birds.root, wrong.table, empty=("owl",)), tmp_path / "cache")
    assert message.splitlines() == [
        "the data cannot be used as it is:",
        f"  - 1 paths are outside the root folder: ../outside.png. Each must be below {birds.root}, "
        "symbolic links resolved: set data.root to a folder that holds all of them.",
        f"  - 1 files are missing: robin/01.png. Paths are relative to {birds.root}.",
        "  - 1 images cannot be read: robin/00.png (not an image of a known format). Repair or remove them, or leave "
        "them out with data.on_bad=skip.",
        "  - 1 paths appear more than once: wren/00.png. Keep one row per image, or per box of it.",
        "  - split 'trian' is unknown. Did you mean train? role 'queries' is unknown. Did you mean query?",
        "  - 1 species folders hold no image: owl. Remove them or add images.",
    ]


def test_long_lists_are_counted_and_cut(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"robin": 2})
    for number in range(8):
        (root / f"species{number}").mkdir()
    message = message_of(from_folder(str(root)), tmp_path / "cache")
    assert "8 species folders hold no image: species0, species1, species2, species3, species4 and 3 more." in message


@pytest.mark.parametrize(
    "name", ["x" * 5000 + ".jpg", "a/" * 3000 + "b.jpg", "\\" * 300 + ".jpg", "~/x.jpg", "a\nb.jpg"]
)
def test_names_that_no_file_can_have_are_missing(name: str, tmp_path: Path) -> None:
    pl.DataFrame({"path": [name], "label": ["robin"]}).write_parquet(tmp_path / "birds.parquet")
    message = message_of(from_file(str(tmp_path / "birds.parquet")), tmp_path / "cache")
    assert "1 files are missing: " in message


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["a\0.jpg"], r"1 manifest rows have a path with a NUL byte, first rows \[1\]"),
        ([["a.jpg"]], r"the column of paths holds List\(String\), which is no text"),
        ([b"\xff.jpg"], r"the column of paths holds Binary, which is no text"),
    ],
)
def test_paths_that_are_none_are_refused(paths: list[Any], told: str, tmp_path: Path) -> None:
    pl.DataFrame({"path": paths, "label": ["robin"]}).write_parquet(tmp_path / "birds.parquet")
    with pytest.raises(DataError, match=told):
        from_file(str(tmp_path / "birds.parquet"))
