"""From a site to a folder: terms, manual steps, two processes at once, and what is never taken for whole."""

import io
import json
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conspecific.data.downloads import obtain as module
from conspecific.data.downloads.files import RemoteFile
from conspecific.data.downloads.lock import alone
from conspecific.data.downloads.obtain import Collection, obtain
from conspecific.errors import DataError


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


@pytest.fixture
def birds(site: Any) -> Collection:
    site.files |= {"list.txt": b"a list", "birds.tar": archive("images/1.jpg", "images/2.jpg")}
    return Collection(
        name="birds",
        title="Birds (Nobody 2000)",
        files=(site.remote("list.txt"), replace(site.remote("birds.tar"), into="photos")),
        needed=("list.txt", "photos/images"),
        terms="be kind to birds.",
        source="https://example.org/birds",
    )


def test_files_go_where_the_collection_says(birds: Collection, tmp_path: Path) -> None:
    folder = obtain(birds, str(tmp_path))
    assert folder == tmp_path / "datasets" / "birds"
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["downloaded.json", "list.txt", "photos/images/1.jpg", "photos/images/2.jpg"]


def test_terms_are_shown_before_the_download_and_not_again(
    birds: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    obtain(birds, str(tmp_path))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("Terms of use: be kind to birds. See https://example.org/birds") == 1
    assert "Birds (Nobody 2000): downloading 0.00 GB" in told.err
    obtain(birds, str(tmp_path))
    assert capsys.readouterr().err == ""


def test_where_a_checksum_is_unknown_its_own_is_shown_and_kept(
    birds: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = birds.files[0].checksum
    unknown = replace(birds, files=(replace(birds.files[0], checksum=None, size=None), birds.files[1]))
    folder = obtain(unknown, str(tmp_path))
    told = capsys.readouterr().err
    assert f"list.txt: no checksum is published; this one is {expected}" in told
    assert "downloading over 0.00 GB" in told
    record = json.loads((folder / "downloaded.json").read_text())
    assert record["list.txt"] == {"url": birds.files[0].url, "size": 6, "checksum": expected}


def test_archives_that_are_there_are_verified_and_taken(site: Any, birds: Collection, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads" / "birds"
    downloads.mkdir(parents=True)
    for name in ("list.txt", "birds.tar"):
        (downloads / name).write_bytes(site.files[name])
    obtain(birds, str(tmp_path))
    assert site.log == []
    (downloads / "birds.tar").write_bytes(b"other")
    (tmp_path / "datasets" / "birds").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"birds.tar is not the expected file: it has 5 bytes"):
        obtain(birds, str(tmp_path))


def test_a_manual_step_is_told_with_what_goes_where(site: Any, birds: Collection, tmp_path: Path) -> None:
    by_hand = RemoteFile(None, named="birds.tar", into="photos")
    manual = replace(birds, files=(birds.files[0], by_hand), step="Write to the authors.")
    with pytest.raises(DataError) as caught:
        obtain(manual, str(tmp_path))
    told = str(caught.value)
    assert "Birds (Nobody 2000) must be downloaded by hand. Write to the authors. Then put birds.tar" in told
    assert str(tmp_path / "downloads" / "birds") in told
    assert "data.root=FOLDER to a folder with list.txt, photos/images" in told
    assert "be kind to birds" in told and site.log == []
    (tmp_path / "downloads" / "birds").mkdir(parents=True)
    (tmp_path / "downloads" / "birds" / "birds.tar").write_bytes(site.files["birds.tar"])
    assert (obtain(manual, str(tmp_path)) / "photos" / "images" / "1.jpg").is_file()


def test_a_mirror_is_another_address_for_the_same_files(site: Any, birds: Collection, tmp_path: Path) -> None:
    site.files |= {f"m/{name}": site.files.pop(name) for name in ("list.txt", "birds.tar")}
    obtain(birds, str(tmp_path), mirror=f"{site.address}/m/")
    assert [path for path, _, _ in site.log] == ["/m/list.txt", "/m/birds.tar"]


def test_a_wrong_file_ends_it_and_the_next_run_goes_on(site: Any, birds: Collection, tmp_path: Path) -> None:
    good = site.files["birds.tar"]
    site.files["birds.tar"] = bytes(len(good))
    with pytest.raises(DataError, match="its checksum is"):
        obtain(birds, str(tmp_path))
    assert not (tmp_path / "datasets").exists()
    site.files["birds.tar"] = good
    obtain(birds, str(tmp_path))
    assert [path for path, _, _ in site.log] == ["/list.txt", "/birds.tar", "/birds.tar"]


def test_a_hostile_archive_leaves_no_folder(site: Any, birds: Collection, tmp_path: Path) -> None:
    site.files["birds.tar"] = archive("images/1.jpg", "../../evil")
    hostile = replace(birds, files=(birds.files[0], site.remote("birds.tar")))
    with pytest.raises(DataError, match="its path is outside the folder"):
        obtain(hostile, str(tmp_path))
    assert list((tmp_path / "datasets").iterdir()) == []
    assert not list(tmp_path.rglob("evil"))


def test_an_interrupted_unpacking_is_not_taken_for_whole(
    site: Any, birds: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path, folder: Path) -> None:
        (folder / "half.jpg").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            obtain(birds, str(tmp_path))
    folder = obtain(birds, str(tmp_path))
    assert not list(folder.rglob("half.jpg"))
    assert len(site.log) == 2  # what was fetched is used


def test_what_a_killed_process_left_is_removed(birds: Collection, tmp_path: Path) -> None:
    half = tmp_path / "datasets" / ".partial-0123456789ab-birds"
    half.mkdir(parents=True)
    obtain(birds, str(tmp_path))
    assert [path.name for path in half.parent.iterdir()] == ["birds"]


def test_a_folder_that_lost_something_is_told(birds: Collection, tmp_path: Path) -> None:
    (obtain(birds, str(tmp_path)) / "list.txt").unlink()
    with pytest.raises(DataError, match=r"list.txt is missing \(found: downloaded.json, photos\)"):
        obtain(birds, str(tmp_path))


def test_of_two_at_once_one_downloads_and_the_other_waits(site: Any, birds: Collection, tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(obtain(birds, str(tmp_path)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "datasets" / "birds"] * 4
    assert len(site.log) == 2


def test_who_waits_is_told(tmp_path: Path) -> None:
    told, inside = threading.Event(), threading.Event()

    def second() -> None:
        with alone(tmp_path / "a.lock", told.set):
            inside.set()

    with alone(tmp_path / "a.lock", lambda: pytest.fail("nobody has it")):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(10) and not inside.is_set()
    thread.join()
    assert inside.is_set()
