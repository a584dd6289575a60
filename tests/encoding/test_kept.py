"""Activations that are kept on disk from run to run."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conspecific.encoding import KeptActivations
from conspecific.files import ABANDONED_SECONDS

KEYS = [f"{number:032x}" for number in range(7)]


def of(keys: Sequence[str], batch: int = 2) -> Iterator[np.ndarray]:
    """The rows of keys: two values that say the number of the key."""
    for start in range(0, len(keys), batch):
        numbers = np.array([int(key, 16) for key in keys[start : start + batch]], np.float16)
        yield np.stack([numbers, -numbers], axis=1)


def numbers(kept: KeptActivations, keys: Sequence[str], group: str = "a") -> list[float]:
    found = kept.find(group, keys)
    assert found is not None and found.shape == (len(keys), 2)
    return [row[0] for row in found[:].tolist() if row[0] == -row[1]]


@pytest.fixture(params=["on disk", "in memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> KeptActivations:
    return KeptActivations(tmp_path / "kept" if request.param == "on disk" else None)


def test_rows_are_found_by_key_in_any_order_and_from_several_blocks(kept: KeptActivations) -> None:
    assert kept.find("a", KEYS[:1]) is None
    kept.add("a", KEYS[:3], of(KEYS[:3]))
    kept.add("a", KEYS[3:], of(KEYS[3:]))
    assert numbers(kept, [KEYS[5], KEYS[0], KEYS[3], KEYS[0]]) == [5, 0, 3, 0]
    assert kept.missing("a", [KEYS[1], "new", KEYS[6], "new", "newer"]).tolist() == [1, 4]
    assert kept.find("b", KEYS[:1]) is None, "another group has nothing"
    rows = kept.find("a", KEYS)
    assert rows is not None
    assert rows[2:4].tolist() == [[2, -2], [3, -3]] and rows[np.array([6])].tolist() == [[6, -6]]
    rows[:][:] = 0
    assert numbers(kept, KEYS[:2]) == [0, 1], "rows are copies"


def test_another_process_finds_what_one_has_kept(tmp_path: Path) -> None:
    KeptActivations(tmp_path).add("a", KEYS[:4], of(KEYS[:4]))
    KeptActivations(tmp_path).add("a", KEYS[2:], of(KEYS[2:]))  # both had begun before either was done
    assert numbers(KeptActivations(tmp_path), KEYS) == [0, 1, 2, 3, 4, 5, 6]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from of(KEYS[:2])
        raise RuntimeError("no power")

    with pytest.raises(RuntimeError, match="no power"):
        KeptActivations(tmp_path).add("a", KEYS, failing())
    assert [*tmp_path.glob("*/*")] == [] and KeptActivations(tmp_path).find("a", KEYS[:1]) is None


@pytest.mark.parametrize("damage", ["changed", "truncated", "no facts", "no keys", "wrong facts"])
def test_a_damaged_block_is_named_removed_and_made_again(tmp_path: Path, damage: str) -> None:
    KeptActivations(tmp_path).add("a", KEYS[:4], of(KEYS[:4]))
    [block] = tmp_path.glob("a/*")
    rows = bytearray((block / "rows").read_bytes())
    if damage == "changed":
        rows[5] ^= 1
        (block / "rows").write_bytes(rows)
    elif damage == "truncated":
        (block / "rows").write_bytes(rows[:-2])
    elif damage == "wrong facts":
        (block / "facts.json").write_text("[]")
    else:
        (block / ("facts.json" if damage == "no facts" else "keys.npy")).write_bytes(b"")
    said: list[str] = []
    kept = KeptActivations(tmp_path, said.append)
    assert kept.missing("a", KEYS).tolist() == [*range(7)]
    assert said == [f"{block} is damaged: it is removed, and its images are encoded again."] and not block.exists()
    kept.add("a", KEYS, of(KEYS))
    assert numbers(KeptActivations(tmp_path), KEYS) == [*range(7)]


def test_the_least_recently_used_blocks_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of 96 bytes is room for two blocks of three rows of four bytes."""
    for number, name in enumerate("abc"):
        if name == "c":
            free = 96 - sum(file.stat().st_size for file in tmp_path.rglob("rows"))
            monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        KeptActivations(tmp_path).add(name, KEYS[:3], of(KEYS[:3]))
        for block in tmp_path.glob(f"{name}/*"):
            os.utime(block, (number, number))
    assert {block.parent.name for block in tmp_path.glob("*/*")} == {"b", "c"}
    said: list[str] = []
    user = KeptActivations(tmp_path, said.append)
    assert numbers(user, KEYS[:3], "b") == numbers(user, KEYS[:3], "c") == [0, 1, 2]
    user.add("d", KEYS[:3], of(KEYS[:3]))
    assert numbers(user, KEYS[:3], "d") == [0, 1, 2]
    assert {block.parent.name for block in tmp_path.glob("*/*")} == {"b", "c"}, "what is in use stays"
    assert said == [
        f"The activations of 3 images take 0.0 GB, more than 25% of the free disk at {tmp_path}: they are not kept for "
        "the next run."
    ]


def test_what_a_dead_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / ".partial-1-x", tmp_path / "a" / ".partial-2-y"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "rows").write_bytes(b"1")
    before = old.stat().st_mtime - ABANDONED_SECONDS - 60
    os.utime(old, (before, before))
    assert KeptActivations(tmp_path).find("a", KEYS) is None
    assert new.exists() and not old.exists()
