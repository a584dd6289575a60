"""Downloads that are cut, lied to, redirected and continued."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conspecific.data.downloads import fetch as module
from conspecific.data.downloads.fetch import fetch
from conspecific.data.downloads.files import RemoteFile
from conspecific.errors import DataError

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def birds(site: Any) -> RemoteFile:
    site.files["birds.tgz"] = CONTENT
    return site.remote("birds.tgz")  # type: ignore[no-any-return]


def quick(file: RemoteFile, folder: Path) -> Path:
    return fetch(file, folder, pause=0, timeout=5)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(file: RemoteFile, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        quick(file, folder)
    return str(caught.value)


def test_a_file_is_fetched_once(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert quick(birds, folder) == quick(birds, folder) == folder / "birds.tgz"
    assert (folder / "birds.tgz").read_bytes() == CONTENT
    assert names(folder) == ["birds.tgz"]
    assert site.statuses == [200]


def test_one_that_was_put_there_by_hand_is_taken_and_touches_no_network(tmp_path: Path) -> None:
    (tmp_path / "img.zip").write_bytes(b"abc")
    assert quick(RemoteFile(None, named="img.zip", size=3), tmp_path) == tmp_path / "img.zip"


def test_one_that_was_put_there_and_is_another_is_left_alone_and_told(tmp_path: Path) -> None:
    (tmp_path / "img.zip").write_bytes(b"abc")
    assert "it has 3 bytes, 4 were expected" in refused(RemoteFile(None, named="img.zip", size=4), tmp_path)
    md5 = RemoteFile(None, named="img.zip", checksum="md5:" + "0" * 32)
    assert "its checksum is md5:900150983cd24fb0d6963f7d28e17f72, md5:000" in refused(md5, tmp_path)
    assert names(tmp_path) == ["img.zip"]


# --- cut connections


def test_a_cut_connection_is_continued_where_it_was_cut(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.cuts = [4000, 2000, None]
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert [(asked, status) for _, asked, status in site.log] == [
        (None, 200),
        ("bytes=4000-", 206),
        ("bytes=6000-", 206),
    ]


def test_a_server_that_knows_no_parts_is_asked_for_the_whole_again(
    site: Any, birds: RemoteFile, tmp_path: Path
) -> None:
    site.cuts, site.ranges = [4000, 5000], False
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert site.statuses == [200, 200, 200]


@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_changes_between_two_attempts_is_not_mixed(known: bool, site: Any, tmp_path: Path) -> None:
    site.files["birds.tgz"] = b"old" * 3000
    old = site.remote("birds.tgz", known=False)
    site.cuts = [4000] + [0] * 5
    assert "in 5 attempts in a row" in refused(old, tmp_path)
    site.files["birds.tgz"], site.tag, site.cuts = CONTENT, '"two"', []
    assert quick(site.remote("birds.tgz", known), tmp_path).read_bytes() == CONTENT
    assert site.statuses[-1] == 200


def test_what_came_is_kept_for_the_next_run(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.cuts = [4000] + [0] * 5
    told = refused(birds, tmp_path)
    assert "The first 4000 bytes are kept: run again to resume" in told
    assert names(tmp_path) == ["birds.tgz.partial", "birds.tgz.partial.json"]
    assert len(site.log) == 5
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert site.log[-1] == ("/birds.tgz", "bytes=4000-", 206)


def test_without_a_state_to_compare_a_part_is_trusted_only_under_a_checksum(site: Any, tmp_path: Path) -> None:
    site.files["birds.tgz"], site.tag = CONTENT, None
    site.cuts = [4000, None, 4000, None]
    quick(site.remote("birds.tgz"), tmp_path / "known")
    quick(site.remote("birds.tgz", known=False), tmp_path / "unknown")
    assert site.statuses == [200, 206, 200, 200]


def test_a_weak_tag_is_no_state(site: Any, tmp_path: Path) -> None:
    site.files["birds.tgz"], site.tag, site.cuts = CONTENT, 'W/"one"', [4000]
    assert quick(site.remote("birds.tgz", known=False), tmp_path).read_bytes() == CONTENT
    assert site.statuses == [200, 200]


def test_a_part_from_another_place_is_thrown_away(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.cuts, site.shift = [4000], 7
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert site.statuses == [200, 206, 200]


def test_a_part_beyond_the_end_is_thrown_away(site: Any, tmp_path: Path) -> None:
    site.files["birds.tgz"] = CONTENT
    file = site.remote("birds.tgz", known=False)
    (tmp_path / "birds.tgz.partial").write_bytes(CONTENT + b"more")
    (tmp_path / "birds.tgz.partial.json").write_text(json.dumps({"url": file.url, "state": site.tag}))
    assert quick(file, tmp_path).read_bytes() == CONTENT
    assert site.statuses == [416, 200]


def test_a_part_that_is_whole_already_is_not_asked_for(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz.partial").write_bytes(CONTENT)
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert site.log == []


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"url": "http://elsewhere/birds.tgz", "state": "one"}'])
def test_a_part_of_unknown_origin_is_thrown_away(record: str, site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz.partial").write_bytes(b"something")
    (tmp_path / "birds.tgz.partial.json").write_text(record)
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert site.log == [("/birds.tgz", None, 200)]


def test_a_length_that_is_not_told_is_no_hindrance(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.announced = False
    assert quick(birds, tmp_path).read_bytes() == CONTENT


# --- answers that are not the file


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_passing_failure_is_tried_again(code: int, site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.answers["birds.tgz"] = [code, code]
    assert quick(birds, tmp_path).read_bytes() == CONTENT
    assert site.statuses == [code, code, 200]


def test_pauses_double_and_have_an_end(
    site: Any, birds: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    site.answers["birds.tgz"] = [500] * 9
    with pytest.raises(DataError, match="in 5 attempts in a row: it answered 500"):
        fetch(birds, tmp_path, pause=20, timeout=5)
    assert slept == [20, 40, 60, 60]


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_lasting_failure_is_told_at_once(code: int, site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.answers["birds.tgz"] = [code] * 9
    assert f"birds.tgz answered {code}" in refused(birds, tmp_path)
    assert site.statuses == [code]
    assert names(tmp_path) == []


def test_a_wrong_checksum_is_told_and_nothing_stays(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    told = refused(replace(birds, checksum="sha256:" + "0" * 64), tmp_path)
    assert f"its checksum is {birds.checksum}, sha256:0000" in told
    assert "The download is removed" in told
    assert names(tmp_path) == []


def test_a_wrong_size_is_told_before_anything_is_fetched(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    assert birds.size is not None
    told = refused(replace(birds, size=birds.size + 1), tmp_path)
    assert "has 10240 bytes, 10241 were expected" in told
    assert names(tmp_path) == []


def test_a_wrong_size_that_is_not_announced_is_told_too(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.announced = False
    assert "it has 10240 bytes, 7 were expected" in refused(replace(birds, size=7), tmp_path)
    assert names(tmp_path) == []


def test_a_web_page_is_not_taken_for_an_archive(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.kind = "text/html; charset=utf-8"
    assert "answers with a web page, not with birds.tgz" in refused(birds, tmp_path)
    assert names(tmp_path) == []


def test_a_redirect_on_the_web_is_followed(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.answers["old.tgz"] = ["/birds.tgz"]
    assert quick(replace(birds, url=f"{site.address}/old.tgz"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/birds.tgz", "gopher://127.0.0.1/"])
def test_a_redirect_off_the_web_is_refused(target: str, site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.answers["birds.tgz"] = [target]
    told = refused(birds, tmp_path)
    assert target in told and ("not allowed" in told or "refused" in told)
    assert names(tmp_path) == []


def test_a_redirect_without_end_is_told(site: Any, birds: RemoteFile, tmp_path: Path) -> None:
    site.answers["birds.tgz"] = ["/birds.tgz"] * 50
    assert "answered 302" in refused(birds, tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a.zip", "/etc/passwd"])
def test_only_web_addresses_are_opened(url: str, tmp_path: Path) -> None:
    assert "is not a web address" in refused(RemoteFile(url, named="a.zip"), tmp_path)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = refused(RemoteFile(f"http://127.0.0.1:{port}/a.zip"), tmp_path)
    assert "could not be downloaded" in told and "Run again later" in told


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = RemoteFile(f"http://127.0.0.1:{silent.getsockname()[1]}/a.zip")
        with pytest.raises(DataError, match="in 5 attempts in a row: timed out"):
            fetch(file, tmp_path, pause=0, timeout=0.05)


def test_a_full_disk_is_told_before_anything_is_fetched(
    site: Any, birds: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=100))
    assert "0 MB free" in refused(birds, tmp_path)


def test_a_folder_that_cannot_be_written_is_told(birds: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert "cannot be written" in refused(birds, tmp_path / "taken" / "folder")
