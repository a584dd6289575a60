"""Tables are read as they were written, or refused before anything is unpacked."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conspecific.data.table_file import read_table
from conspecific.errors import DataError
from conspecific.parquet import MARK, read_parquet, write_parquet

FUZZED = settings(
    max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MANY = 2**24
TABLE = pl.DataFrame(
    {
        "path": [f"wren/{number}.jpg" for number in range(500)],
        "train": [number % 3 == 0 for number in range(500)],
        "scores": [[0.5, number / 7] if number % 5 else [] for number in range(500)],
        "label": [None, *["wren"] * 499],
    }
)


def number(value: int, size: int = 0) -> bytes:
    """A number as footers have it, in more bytes than it needs where `size` says so."""
    value, found = 2 * value, []
    while value or len(found) < size or not found:
        found.append(value % 128 | 128)
        value //= 128
    return bytes([*found[:-1], found[-1] - 128])


def lie(file: Path, rows: int) -> None:
    """Have the footer say that there is one row, as the header of no page does."""
    content = file.read_bytes()
    place = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    told = number(rows)
    file.write_bytes(content[:place] + content[place:].replace(told, number(1, len(told))))


def many_truths(file: Path) -> None:
    pl.DataFrame({"train": pl.repeat(True, MANY, eager=True)}).write_parquet(file)


def more_than_the_footer_says(file: Path) -> None:
    table = pl.DataFrame({"train": pl.repeat(True, 3 * MANY, eager=True)})
    table.write_parquet(file, row_group_size=3 * MANY, data_page_size=2**30, statistics=False)
    lie(file, 3 * MANY)
    assert pq.read_metadata(file).num_rows == 1


def many_in_one_list(file: Path) -> None:
    pl.DataFrame({"hits": [pl.repeat(True, 3 * MANY, eager=True)]}).write_parquet(file)


def one_long_text(file: Path) -> None:
    pl.DataFrame({"path": ["a" * (2**26 + 2**24)]}).write_parquet(file)


def shared_beginnings(file: Path) -> None:
    options = {"use_dictionary": False, "column_encoding": {"path": "DELTA_BYTE_ARRAY"}}
    pq.write_table(TABLE.select("path").to_arrow(), file, **options)


BOMBS: dict[Callable[[Path], None], str] = {
    many_truths: "bytes stand for 33,554,432 values",
    more_than_the_footer_says: "bytes stand for 50,331,649 values",
    many_in_one_list: "bytes stand for 50,331,649 values",
    one_long_text: "bytes stand for 83,88",
    shared_beginnings: "DELTA_BYTE_ARRAY is not read",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_that_stands_for_very_much_is_not_unpacked(
    bomb: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb(file := tmp_path / "bomb.parquet")
    assert file.stat().st_size < 30_000
    monkeypatch.setattr(pl, "read_parquet", lambda *_, **__: pytest.fail("it is unpacked"))
    with pytest.raises(ValueError, match=BOMBS[bomb]):
        read_parquet(file)
    with pytest.raises(DataError, match=f"{file} cannot be read as a parquet table: .*{BOMBS[bomb]}"):
        read_table(file, "path", "label")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_tables_of_other_programs_are_read(version: str, compression: str, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(TABLE.to_arrow(), file, data_page_version=version, compression=compression, row_group_size=100)
    assert read_parquet(file).equals(TABLE)
    TABLE.head(0).write_parquet(file)
    assert read_parquet(file).equals(TABLE.head(0))


def test_the_checksum_is_passed_over_by_other_programs(tmp_path: Path) -> None:
    write_parquet(TABLE, file := tmp_path / "table.parquet")
    assert file.read_bytes().count(MARK) == 1
    for found in (read_parquet(file), pl.read_parquet(file), pl.DataFrame(pl.from_arrow(pq.read_table(file)))):
        assert found.equals(TABLE)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    TABLE.select("train", "path").write_parquet(file := tmp_path / "table.parquet", row_group_size=500)
    content = file.read_bytes()
    file.write_bytes(content.replace(number(500), number(499), 1))
    with pytest.raises(ValueError, match="it is damaged: "):
        read_parquet(file)


@given(st.integers(0, 10**6), st.integers(0, 7), st.sampled_from(["flip", "cut", "double"]))
@settings(
    max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_table_is_refused_or_read_as_it_was(tmp_path: Path, place: int, bit: int, way: str) -> None:
    write_parquet(TABLE, file := tmp_path / "table.parquet")
    content = bytearray(file.read_bytes())
    place %= len(content)
    if way == "flip":
        content[place] ^= 1 << bit
    else:
        content[place:] = b"" if way == "cut" else content[:place]
    file.write_bytes(content)
    try:
        assert read_parquet(file).equals(TABLE), "a bit of the mark alone was flipped"
    except ValueError as error:
        assert str(error)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@settings(
    max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_table_of_another_program_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    TABLE.write_parquet(file := tmp_path / "table.parquet")
    content = bytearray(file.read_bytes())
    for place, byte in changes:
        content[-1 - place % 700 if byte % 2 else place % len(content)] = byte
    file.write_bytes(content)
    try:
        read_parquet(file)
    except ValueError as error:
        assert str(error)
