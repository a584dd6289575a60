"""What is cached is found again whole, or made again with a word."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conspecific.cached import CHECKSUMS, cached
from conspecific.files import write_whole_folder


def write(folder: Path) -> None:
    (folder / "scores.json").write_text("0.5")
    (folder / "table.bin").write_bytes(bytes(100))


def unused(_: Path) -> None:
    pytest.fail("it is made again")


def test_it_is_made_once(tmp_path: Path) -> None:
    said: list[str] = []
    entry = cached(tmp_path / "new" / "key", write, said.append)
    assert cached(entry, unused, said.append) == entry
    assert (entry / "scores.json").read_text() == "0.5"
    assert said == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda entry: (entry / "scores.json").write_text("0.6"), "scores.json was changed"),
        (lambda entry: (entry / "table.bin").write_bytes(bytes(50)), "table.bin was changed"),
        (lambda entry: (entry / "table.bin").unlink(), "table.bin cannot be read"),
        (lambda entry: (entry / CHECKSUMS).unlink(), "it has no checksums"),
        (lambda entry: (entry / CHECKSUMS).write_text("[1"), "it has no checksums"),
        (lambda entry: (entry / CHECKSUMS).write_text("{}"), "it has no checksums"),
    ],
)
def test_whatever_is_damaged_is_made_again_with_a_word(
    damage: Callable[[Path], object], told: str, tmp_path: Path
) -> None:
    said: list[str] = []
    entry = cached(tmp_path / "key", write, said.append)
    damage(entry)
    cached(entry, write, said.append)
    assert said == [f"{entry} cannot be used, {told}: it is made again."]
    cached(entry, unused, said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_of_two_processes_the_first_to_finish_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one ends before the work of this one does, or in the moment between looking and renaming."""

    def other(folder: Path) -> None:
        with write_whole_folder(folder) as theirs:
            write(theirs)

    def race(part: Path) -> None:
        write(part)
        other(tmp_path / "key")

    assert (cached(tmp_path / "key", race, pytest.fail) / "scores.json").read_text() == "0.5"
    plain = Path.replace

    def rename(path: Path, target: Path) -> Path:
        if target == tmp_path / "late" and not target.exists():
            target.mkdir()
            write(target)
        return plain(path, target)

    monkeypatch.setattr(Path, "replace", rename)
    assert (cached(tmp_path / "late", write, pytest.fail) / "scores.json").read_text() == "0.5"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "late"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        write(part)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached(tmp_path / "key", fail, pytest.fail)
    assert list(tmp_path.iterdir()) == []
