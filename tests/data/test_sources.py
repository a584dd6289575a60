"""From folders and tables to manifests, and what is said where there is none."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from conspecific.data.listing import LeftOut
from conspecific.data.sources import butterflies, from_file, from_folder, from_images
from conspecific.errors import DataError
from conspecific.images import FORMATS, image_suffixes, open_rgb, raw


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, source: Callable[..., object] = from_folder) -> dict[str, str]:
    table = source(str(root)).table  # type: ignore[attr-defined]
    return dict(table.select("path", "label").iter_rows())


def test_a_folder_is_a_species_with_all_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "wren/b.JPG", "wren/2021/a.tiff", "robin/x.webp")
    assert listed(tmp_path) == {"robin/x.webp": "robin", "wren/2021/a.tiff": "wren", "wren/b.JPG": "wren"}


def test_other_files_are_counted_and_named_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "wren/a.jpg", "robin/a.jpg", "readme", "b.jpg", "wren/.hidden.txt", "wren/more/notes.pdf")
    touch(tmp_path, *(f"robin/{number}.TXT" for number in range(7)))
    manifest = from_folder(str(tmp_path))
    assert manifest.left_out == (
        LeftOut("beside the species folders", 1, ("b.jpg",)),
        LeftOut(".txt", 7, tuple(f"robin/{number}.TXT" for number in range(5))),
        LeftOut(".pdf", 1, ("wren/more/notes.pdf",)),
        LeftOut("without a suffix", 1, ("readme",)),
    )
    assert manifest.describe_left_out() == (
        "10 files left out: 1 beside the species folders (b.jpg), 7 .txt (robin/0.TXT, robin/1.TXT, "
        "robin/2.TXT, robin/3.TXT, robin/4.TXT and 2 more), 1 .pdf (wren/more/notes.pdf), 1 without a suffix (readme)."
    )
    assert [each.kind for each in from_images(str(tmp_path)).left_out] == [".txt", ".pdf", "without a suffix"]


def test_a_clean_folder_leaves_nothing_out(tmp_path: Path) -> None:
    manifest = from_folder(str(touch(tmp_path, "wren/a.jpg")))
    assert (manifest.left_out, manifest.describe_left_out()) == ((), "")


def test_folders_named_like_splits_are_splits(tmp_path: Path) -> None:
    touch(tmp_path, "Train/wren/a.jpg", "Train/robin/deep/b.jpg", "valid/wren/c.jpg", "test/d.jpg", "test/owl/e.jpg")
    touch(tmp_path, "annotations/list.txt")
    (tmp_path / "valid" / "robin").mkdir()
    (tmp_path / "valid" / "kite").mkdir()
    manifest = from_folder(str(tmp_path))
    assert manifest.table.select("path", "label", "split").rows() == [
        ("Train/robin/deep/b.jpg", "robin", "train"),
        ("Train/wren/a.jpg", "wren", "train"),
        ("test/owl/e.jpg", "owl", "test"),
        ("valid/wren/c.jpg", "wren", "val"),
    ]
    assert manifest.notes == ("The folders Train, test, valid are splits; the species are the folders in them.",)
    assert manifest.left_out[0] == LeftOut("beside the species folders", 1, ("test/d.jpg",))
    assert manifest.empty == ("kite",)


@pytest.mark.parametrize(
    "paths",
    [
        ("train/a.jpg", "test/b.jpg"),  # species of these names
        ("train/wren/a.jpg", "robin/b.jpg"),
        ("test/wren/a.jpg", "val/wren/b.jpg"),
        ("wren/2020/a.jpg", "wren/2021/b.jpg", "robin/c.jpg"),
    ],
)
def test_other_folders_are_species(paths: tuple[str, ...], tmp_path: Path) -> None:
    manifest = from_folder(str(touch(tmp_path, *paths)))
    assert manifest.table["label"].to_list() == [path.partition("/")[0] for path in sorted(paths)]
    assert manifest.table["split"].is_null().all()


def test_a_tree_of_genera_is_questioned(tmp_path: Path) -> None:
    touch(tmp_path, "Parus/major/a.jpg", "Parus/minor/b.jpg", "Turdus/merula/c.jpg", "Turdus/pilaris/d.jpg")
    [note] = from_folder(str(tmp_path)).notes
    assert note == (
        "The 2 folders Parus, Turdus are the species, but all images are in 4 folders below them. If those are the "
        "species, give data.levels=[genus,species], or data=images, which takes the folder of each image."
    )
    touch(tmp_path, "Parus/e.jpg")
    assert from_folder(str(tmp_path)).notes == ()


def test_symbolic_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "disk/old/a.jpg", "birds/wren/b.jpg", "disk/c.jpg")
    (tmp_path / "birds" / "owl").symlink_to(tmp_path / "disk")
    (tmp_path / "birds" / "wren" / "more").symlink_to(tmp_path / "disk" / "old")
    (tmp_path / "birds" / "wren" / "loop").symlink_to(tmp_path / "birds")
    (tmp_path / "birds" / "wren" / "d.jpg").symlink_to(tmp_path / "disk" / "c.jpg")
    assert listed(tmp_path / "birds") == {
        "owl/c.jpg": "owl",
        "owl/old/a.jpg": "owl",
        "wren/b.jpg": "wren",
        "wren/d.jpg": "wren",
        "wren/more/a.jpg": "wren",
    }


def test_images_are_sorted_by_folder_then_name(tmp_path: Path) -> None:
    touch(tmp_path, "a b/z.jpg", "a/b.jpg", "a/B/c.jpg", "a-b/d.jpg", "A/e.jpg")
    assert list(listed(tmp_path)) == ["A/e.jpg", "a/B/c.jpg", "a/b.jpg", "a b/z.jpg", "a-b/d.jpg"]


@pytest.mark.parametrize("suffix", [".jpeg", ".jfif", ".png", ".webp", ".tif", ".bmp", ".pgm", ".jp2", ".tga"])
def test_what_pillow_writes_and_reads_is_an_image(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "wren").mkdir()
    Image.new("RGB", (8, 8)).convert("L" if suffix == ".pgm" else "RGB").save(tmp_path / "wren" / f"a{suffix}")
    (tmp_path / "wren" / f"a{suffix}").rename(tmp_path / "wren" / f"A{suffix.upper()}")
    manifest = from_folder(str(tmp_path))
    assert len(manifest) == 1 and open_rgb(manifest.path(0)).size == (8, 8)


def test_every_suffix_is_of_a_format_that_needs_no_other_program() -> None:
    suffixes = image_suffixes(FORMATS)
    assert {".avif", ".gif", ".mpo", ".pgm"} <= suffixes
    assert not suffixes & {".psd", ".eps", ".ps", ".mpg", ".h5", ".wmf", ".pdf", ".txt", ".mp4", ""}


def test_raw_files_are_read_or_named_with_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "wren/a.jpg", "wren/b.NEF")
    for installed in (True, False):
        monkeypatch.setattr(raw, "can_open", lambda installed=installed: installed)
        image_suffixes.cache_clear()
        left = from_folder(str(tmp_path)).describe_left_out()
        told = "1 file left out: 1 .nef, which needs pip install -e '.[raw]' (wren/b.NEF)."
        assert left == ("" if installed else told)
    image_suffixes.cache_clear()


def test_heic_is_read_or_named_with_what_it_needs(tmp_path: Path) -> None:
    touch(tmp_path, "wren/a.jpg", "wren/b.HEIC")
    manifest = from_folder(str(tmp_path))
    if find_spec("pillow_heif"):
        assert listed(tmp_path) == {"wren/a.jpg": "wren", "wren/b.HEIC": "wren"}
    else:
        told = "1 file left out: 1 .heic, which needs pip install -e '.[heic]' (wren/b.HEIC)."
        assert manifest.describe_left_out() == told


def test_hidden_and_other_files_are_no_images(tmp_path: Path) -> None:
    touch(tmp_path, "wren/a.jpg", "wren/.b.jpg", "wren/.thumbs/c.jpg", "wren/notes.txt", ".trash/d.jpg", "readme.md")
    assert listed(tmp_path) == {"wren/a.jpg": "wren"}
    assert listed(tmp_path, from_images) == {"wren/a.jpg": "wren"}


def test_a_hidden_folder_above_the_data_does_not_hide_it(tmp_path: Path) -> None:
    assert listed(touch(tmp_path / ".data", "wren/a.jpg")) == {"wren/a.jpg": "wren"}


def test_empty_species_folders_are_remembered(tmp_path: Path) -> None:
    touch(tmp_path, "wren/a.jpg", "robin/notes.txt")
    (tmp_path / "owl").mkdir()
    manifest = from_folder(str(tmp_path))
    assert manifest.empty == ("owl", "robin")
    assert manifest.describe_left_out() == (
        "1 file left out: 1 .txt (robin/notes.txt). 2 species folders without images: owl, robin."
    )


def test_images_anywhere_take_the_label_of_the_folder_they_lie_in(tmp_path: Path) -> None:
    root = touch(tmp_path / "gallery", "a.jpg", "deep/er/b.png")
    assert listed(root, from_images) == {"a.jpg": "gallery", "deep/er/b.png": "er"}


def test_species_of_images_in_one_folder_are_not_known(tmp_path: Path) -> None:
    manifest = from_images(str(touch(tmp_path, "a.jpg", "b.jpg")))
    assert (manifest.labelled, manifest.species, manifest.labels.tolist()) == (False, ("",), [0, 0])
    assert manifest.table["label"].to_list() == [None, None]
    assert manifest.describe() == [f"Data: 2 images in {tmp_path}, species not known: no folder of its own for each"]


def test_a_table_keeps_labels_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("\ufeffpath,label,split\na.jpg,007,train\nb.jpg,1e3,\nc.jpg,true,test\n")
    manifest = from_file(str(tmp_path / "list.csv"))
    assert manifest.table["label"].to_list() == ["007", "1e3", "true"]
    assert manifest.table["split"].to_list() == ["train", None, "test"]
    assert manifest.root == tmp_path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_table_may_have_any_common_separator_and_encoding(separator: str, encoding: str, tmp_path: Path) -> None:
    lines = ["path,split , label", "a b.jpg,train,m\u00e4nnchen", '"x,1;2.jpg",,two words']
    text = "\r\n".join(line.replace(",", separator) if "1" not in line else line for line in lines)
    text = text.replace('jpg",,', f'jpg"{separator}{separator}')
    bom = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "list.csv").write_bytes(bom + text.encode(encoding))
    table = from_file(str(tmp_path / "list.csv")).table
    assert table.select("path", "label", "split").rows() == [
        ("a b.jpg", "m\u00e4nnchen", "train"),
        ("x,1;2.jpg", "two words", None),
    ]


def test_columns_of_a_table_may_have_other_names(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,file,label,species,split\n1,a.jpg,x,robin,test\n")
    manifest = from_file(str(tmp_path / "list.csv"), image_column="file", label_column="species")
    assert manifest.table.rows() == [("a.jpg", "robin", "test", None, None)]


def test_backslashes_are_slashes_where_that_is_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "wren/a.jpg", "wren\\b.jpg")
    (tmp_path / "list.csv").write_text("path,label\nwren\\a.jpg,wren\nwren\\b.jpg,wren\nno\\c.jpg,wren\n")
    manifest = from_file(str(tmp_path / "list.csv"))
    assert manifest.table["path"].to_list() == ["wren/a.jpg", "wren\\b.jpg", "no\\c.jpg"]
    assert manifest.notes == ("Backslashes in 1 paths are read as slashes.",)


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a", "b"], "label": ["x", "y"], "role": ["query", None]})
    table.write_csv(tmp_path / "list.csv")
    table.write_parquet(tmp_path / "list.parquet")
    csv, parquet = (from_file(str(tmp_path / f"list.{suffix}")) for suffix in ("csv", "parquet"))
    assert csv.table.equals(parquet.table)


def test_paths_of_a_table_are_taken_from_the_root_given(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "tables/list.csv")
    (tmp_path / "tables" / "list.csv").write_text("path,label\na.jpg,robin\n")
    manifest = from_file(str(tmp_path / "tables" / "list.csv"), root=str(tmp_path / "images"))
    assert manifest.path(0).is_file()


@pytest.mark.parametrize("source", [from_folder, from_images])
def test_a_folder_that_is_not_there_is_named(source: Callable[..., object], tmp_path: Path) -> None:
    touch(tmp_path, "file.jpg")
    for name in ("nowhere", "file.jpg"):
        with pytest.raises(DataError, match=rf"data\.root=.*{name} is not a folder"):
            source(str(tmp_path / name))


def test_a_folder_without_species_folders_is_explained(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".hidden/b.jpg")
    with pytest.raises(DataError, match="one folder per species"):
        from_folder(str(tmp_path))


@pytest.mark.parametrize("source", [from_folder, from_images])
def test_folders_without_images_are_refused(source: Callable[..., object], tmp_path: Path) -> None:
    touch(tmp_path, "wren/notes.txt")
    with pytest.raises(DataError, match=r"no images under .*: the manifest is empty. 1 file left out: 1 \.txt \(wren/"):
        source(str(tmp_path))


def test_file_names_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "wren/a.jpg")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/wren/m\xe4nnchen.jpg")).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(DataError, match=r"1 file names are not UTF-8, first .*m\\udce4nnchen.jpg"):
        from_folder(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", "path,label\na.jpg,männchen\n".encode("latin-1"), "line 2 is not UTF-8 text. Save the table"),
        ("list.csv", b"\xff\xfep\x00a", "line 1 is not UTF-16 text"),
        ("list.csv", b"", "cannot be read as a csv table: empty CSV"),
        ("list.csv", b"path,label\na,b,c,d\n", "cannot be read as a csv table"),
        (
            "list.csv",
            b"path:label\na:b\n",
            r"has no column path, but path:label\. Name the right one with data\.image_column=COLUMN",
        ),
        (
            "list.csv",
            b"path,labl\na,b\n",
            r"no column label, but path, labl\. .* data\.label_column=COLUMN",
        ),
        ("list.csv", b"path,label\n,robin\n", r"1 manifest rows have no path, first rows \[1\]"),
        ("list.parquet", b"path,label\na,b\n", "cannot be read as a parquet table"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        from_file(str(tmp_path / name))


def test_a_table_or_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path=.*list\.csv is not a CSV or Parquet file"):
        from_file(str(tmp_path / "list.csv"))
    (tmp_path / "list.csv").write_text("path,label\na,b\n")
    with pytest.raises(DataError, match=r"data\.root=.*nowhere is not a folder"):
        from_file(str(tmp_path / "list.csv"), root=str(tmp_path / "nowhere"))


def test_butterflies_are_drawn_once_and_kept(tmp_path: Path) -> None:
    first = butterflies(str(tmp_path), species=3, images=2, size=32)
    drawn = {path: path.stat().st_mtime_ns for path in first.root.rglob("*.jpg")}
    again = butterflies(str(tmp_path), species=3, images=2, size=32)
    assert len(first.species) == 3
    assert len(first) == len(drawn) == 6
    assert again.fingerprint() == first.fingerprint()
    assert drawn == {path: path.stat().st_mtime_ns for path in again.root.rglob("*.jpg")}


def test_a_folder_below_the_species_is_a_group(tmp_path: Path) -> None:
    touch(tmp_path, "wren/1/a.jpg", "wren/1/deep/b.jpg", "wren/2/c.jpg", "owl/1/d.jpg", "owl/e.jpg")
    manifest = from_folder(str(tmp_path), group_level=1)
    groups = dict(zip(manifest.table["path"], manifest.groups.tolist(), strict=True))
    assert groups["wren/1/a.jpg"] == groups["wren/1/deep/b.jpg"]
    assert len(set(groups.values())) == 4, "a folder of another species, and an image above them, are by themselves"
    assert "5 images of 2 species, 4 groups in" in manifest.describe()[0]
    assert not from_folder(str(tmp_path)).grouped
    for level, why in ((0, "folders that hold whole species"), (3, "no image lies in a folder so far down")):
        with pytest.raises(DataError, match=why):
            from_folder(str(tmp_path), group_level=level)


def test_a_column_of_a_table_names_groups(tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    table.write_text("path,label,group,site\na.jpg,owl,x,1\nb.jpg,owl,,1\nc.jpg,owl,x,2\nd.jpg,wren,,2\n")
    first, by_site = from_file(str(table)), from_file(str(table), group_column="site")
    assert first.groups[0] == first.groups[2] and len(set(first.groups.tolist())) == 3
    assert by_site.groups.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"no column burst, .*data\.group_column=COLUMN"):
        from_file(str(table), group_column="burst")


def test_the_fingerprint_holds_groups(tmp_path: Path) -> None:
    touch(tmp_path, "wren/1/a.jpg", "wren/1/b.jpg", "owl/c.jpg")
    assert from_folder(str(tmp_path)).fingerprint() != from_folder(str(tmp_path), group_level=1).fingerprint()
