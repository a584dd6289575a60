"""All problems of the data are counted and named in one message."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import PIL
import polars as pl
import pytest
from PIL import Image

from conspecific.data import check
from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.errors import DataError


@pytest.fixture
def birds(make_folder: Callable[..., Path]) -> Manifest:
    return from_folder(str(make_folder({"robin": 3, "wren": 2})))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were decoded, in no certain order."""
    names: list[str] = []
    plain = check.open_rgb

    def open_and_tell(path: Path, shorter_side: int | None = None) -> Image.Image:
        names.append(path.name)
        return plain(path, shorter_side)

    monkeypatch.setattr(check, "open_rgb", open_and_tell)
    return names


def with_row(manifest: Manifest, path: str, label: str = "robin", **named: str) -> Manifest:
    row = pl.DataFrame([{"path": path, "label": label, "split": None, "role": None, **named}], manifest.table.schema)
    return Manifest.from_table(manifest.root, pl.concat([manifest.table, row]), manifest.empty)


def message_of(manifest: Manifest, cache: Path, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        check_manifest(manifest, cache, **options)
    return str(caught.value)


def test_good_data_gives_its_fingerprint(birds: Manifest, tmp_path: Path) -> None:
    assert check_manifest(birds, tmp_path / "cache") == birds.fingerprint()


def test_images_that_passed_once_are_not_decoded_again(birds: Manifest, tmp_path: Path, decoded: list[str]) -> None:
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 5
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 5


def test_changed_images_are_decoded_again(birds: Manifest, tmp_path: Path, decoded: list[str]) -> None:
    check_manifest(birds, tmp_path / "cache")
    (birds.root / "wren" / "00.png").write_bytes(b"no image any more")
    assert "1 images cannot be read: wren/00.png (not an image)" in message_of(birds, tmp_path / "cache")
    assert len(decoded) == 10


@pytest.mark.parametrize(("module", "name"), [(PIL, "__version__"), (Image, "MAX_IMAGE_PIXELS")])
def test_images_are_decoded_again_by_another_decoder(
    module: ModuleType, name: str, birds: Manifest, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_manifest(birds, tmp_path / "cache")
    monkeypatch.setattr(module, name, 10_000)
    check_manifest(birds, tmp_path / "cache")
    assert len(decoded) == 10


def test_bad_images_are_not_remembered_as_good(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "wren" / "00.png").write_bytes(b"no image")
    assert message_of(birds, tmp_path / "cache") == message_of(birds, tmp_path / "cache")


def test_other_faults_are_found_in_images_that_passed(birds: Manifest, tmp_path: Path) -> None:
    alone = Manifest.from_table(birds.root, birds.table[:4])
    check_manifest(alone, tmp_path / "cache", scored=False)
    assert "1 species have a single image: wren" in message_of(alone, tmp_path / "cache")


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
    assert "1 files are missing: robin/link.png." in message_of(from_folder(str(birds.root)), tmp_path / "cache")


def test_folders_are_no_files(birds: Manifest, tmp_path: Path) -> None:
    assert "1 files are missing: robin." in message_of(with_row(birds, "robin"), tmp_path / "cache")


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
    assert "1 paths appear more than once: robin/00.png. Keep one row per image." in message


def test_unknown_split_and_role_names_are_named_with_their_neighbours(birds: Manifest, tmp_path: Path) -> None:
    strange = birds.table.with_columns(pl.lit("tset").alias("split"), pl.lit("galery").alias("role"))
    message = message_of(Manifest.from_table(birds.root, strange), tmp_path / "cache")
    assert "split 'tset' is unknown. Did you mean test?" in message
    assert "role 'galery' is unknown. Did you mean gallery?" in message


def test_empty_species_folders_are_named(birds: Manifest, tmp_path: Path) -> None:
    (birds.root / "owl").mkdir()
    message = message_of(from_folder(str(birds.root)), tmp_path / "cache")
    assert "1 species folders hold no image: owl. Remove them or add images." in message


def test_species_with_one_image_are_named(birds: Manifest, tmp_path: Path) -> None:
    message = message_of(with_row(birds, "robin/00.png", label="owl"), tmp_path / "cache")
    assert "1 species have a single image: owl." in message


def test_images_that_are_not_scored_need_no_company(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"robin": 1, "wren": 1})
    (root / "owl").mkdir()
    check_manifest(from_folder(str(root)), tmp_path / "cache", scored=False)


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
        "  - 1 images cannot be read: robin/00.png (not an image). Repair or remove them.",
        "  - 1 paths appear more than once: wren/00.png. Keep one row per image.",
        "  - split 'trian' is unknown. Did you mean train? role 'queries' is unknown. Did you mean query?",
        "  - 1 species folders hold no image: owl. Remove them or add images.",
        "  - 1 species have a single image: kite. Add images or remove these species: each needs two.",
    ]


def test_long_lists_are_counted_and_cut(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({f"species{number}": 1 for number in range(8)})
    message = message_of(from_folder(str(root)), tmp_path / "cache")
    assert "8 species have a single image: species0, species1, species2, species3, species4 and 3 more." in message
