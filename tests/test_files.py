"""Files and folders are written whole or not at all."""

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conspecific.files import (
    ABANDONED_SECONDS,
    cache_key,
    remove_abandoned,
    remove_old_abandoned,
    unnamed_file,
    write_json,
    write_text,
    write_whole,
    write_whole_folder,
)


class Stop(Exception):
    """What interrupts a write."""


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that is neither the usual one nor that of private files."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "table.parquet"
    with write_whole(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert (temporary.parent, temporary.suffix) == (path.parent, ".parquet")
    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["table.parquet"]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    for text in ("old and long", "new"):
        write_text(tmp_path / "note.txt", text)
    assert (tmp_path / "note.txt").read_text() == "new"


def test_an_exception_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("old")
    for name in ("note.txt", "other.txt"):
        with pytest.raises(Stop), write_whole(tmp_path / name) as temporary:
            temporary.write_text("half")
            raise Stop
    assert names(tmp_path) == ["note.txt"]
    assert (tmp_path / "note.txt").read_text() == "old"


def test_the_mode_of_a_file_follows_the_umask_whatever_its_writer_does(tmp_path: Path, umask: None) -> None:
    with write_whole(tmp_path / "weights.safetensors") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o640


def test_json_is_indented_and_ends_with_a_line_break(tmp_path: Path) -> None:
    write_json(tmp_path / "facts.json", {"name": "Brünnich", "count": 2})
    text = (tmp_path / "facts.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Brünnich", "count": 2}
    assert text.endswith("}\n") and len(text.splitlines()) == 4


def test_json_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "facts.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "facts.json", [object()])
    assert json.loads((tmp_path / "facts.json").read_text()) == [1]
    assert names(tmp_path) == ["facts.json"]


def test_a_folder_appears_when_the_block_ends(tmp_path: Path, umask: None) -> None:
    folder = tmp_path / "new" / "set"
    with write_whole_folder(folder) as temporary:
        (temporary / "robin").mkdir()
        (temporary / "robin" / "a.txt").write_text("a")
        assert not folder.exists()
    assert names(folder.parent) == ["set", "set/robin", "set/robin/a.txt"]
    assert folder.stat().st_mode & 0o777 == 0o750


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with write_whole_folder(tmp_path / "set") as temporary:
            (temporary / name).touch()
    assert names(tmp_path) == ["set", "set/new"]


def test_an_exception_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").touch()
    for name in ("set", "other"):
        with pytest.raises(Stop), write_whole_folder(tmp_path / name) as temporary:
            (temporary / "half").touch()
            raise Stop
    assert names(tmp_path) == ["set", "set/old"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").touch()
    plain = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise OSError("no")
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no"), write_whole_folder(tmp_path / "set") as temporary:
        (temporary / "new").touch()
    assert names(tmp_path) == ["set", "set/old"]


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    for name in ("folder", "file"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere" / name)
    for text in ("old", "new"):
        write_text(tmp_path / "file", text)
        with write_whole_folder(tmp_path / "folder") as temporary:
            (temporary / text).touch()
    assert names(tmp_path / "elsewhere") == ["file", "folder", "folder/new"]
    assert (tmp_path / "file").is_symlink() and (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "folder").is_symlink()


def test_keep_existing_refuses_to_replace_what_another_process_wrote(tmp_path: Path) -> None:
    refused = pytest.raises(FileExistsError, match="another process")
    with refused, write_whole_folder(tmp_path / "set", keep_existing=True) as temporary:
        (temporary / "mine").touch()
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "theirs").touch()
    assert names(tmp_path) == ["set", "set/theirs"]


def test_keep_existing_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with write_whole_folder(tmp_path / "set", keep_existing=True) as temporary:
        (temporary / "mine").touch()
    assert names(tmp_path) == ["set", "set/mine"]


def test_what_a_killed_process_left_of_a_path_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [".partial-0123456789ab-my-set", ".partial-0123456789ab-set.json", "set"]
    for name in (*kept, ".partial-0123456789ab-set"):
        (tmp_path / name / "below").mkdir(parents=True)
    (tmp_path / ".partial-ba9876543210-set").touch()
    remove_abandoned(tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_what_was_left_in_caches_long_ago_is_removed_and_what_may_be_written_now_is_not(tmp_path: Path) -> None:
    old = time.time() - ABANDONED_SECONDS - 60
    for place in ("", "references/", "activations/group/"):
        for number, age in enumerate((old, time.time())):
            left = tmp_path / f"{place}.partial-{number:012}-set"
            (left / "below").mkdir(parents=True)
            os.utime(left, (age, age))
    remove_old_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob(".partial-*")) == [".partial-000000000001-set"] * 3


def test_abandoned_names_are_those_of_temporary_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "[1].txt") as temporary:
        temporary.touch()
        remove_abandoned(tmp_path / "[1].txt")
        assert not temporary.exists()
    assert names(tmp_path) == []


def test_an_unnamed_file_is_an_array_without_a_name(tmp_path: Path) -> None:
    array = unnamed_file(tmp_path / "cache", (3, 2), np.float16)
    array[:] = 1.5
    assert (array.shape, array.dtype, float(array.sum())) == ((3, 2), np.float16, 9.0)
    assert names(tmp_path) == ["cache"]


def test_a_cache_key_differs_with_each_fact_and_not_with_the_order_of_a_mapping() -> None:
    keys = [cache_key(*facts) for facts in (("a", 1), ("a", 2), ("b", 1), ("a",), (["a", 1],))]
    assert len(set(keys)) == 5 and all(len(key) == 16 for key in keys)
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})


def test_a_full_disk_is_named_whatever_the_writer_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="No space left on device") as caught, write_whole(tmp_path / "a.safetensors"):
        raise RuntimeError("I/O error")
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="I/O error"), write_whole(tmp_path / "a.safetensors"):
        raise RuntimeError("I/O error")


def test_an_array_that_the_disk_cannot_hold_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(descriptor: int, start: int, size: int) -> None:
        assert (start, size) == (0, 3 * 5 * 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", allocate, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        unnamed_file(tmp_path, (3, 5), np.float16)
