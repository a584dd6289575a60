"""Tables in Parquet files, which have a checksum, and may come from elsewhere.

What a file stands for is counted before any of it is unpacked: some kilobytes can stand for billions of rows, as a run
of one value, or for gigabytes of text, compressed. The header of each page says how much it holds, and readers allocate
by it. So these headers are read too, and not only the sums in the footer, which a file can state too low.
"""

import hashlib
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import polars as pl

from conspecific.files import HASH_BYTES, content_hash_of
from conspecific.reading import open_regular

MAGIC = b"PAR1"
TAIL = 8  # bytes at the end: the length of the footer, and MAGIC
MARK = b"\xffconspecific checksum "  # stands before the checksum, between the last page and the footer
MARKED = len(MARK) + 2 * HASH_BYTES  # bytes that readers of Parquet pass over
MOST = {"values": (2**24, 16), "bytes": (2**26, 64)}  # of any file, and for each byte of it; a run has 1 and 10 a byte
MOST_FOOTER, MOST_HEADER = 2**22, 2**20  # bytes
DEEPEST = 20  # levels of structs and lists
DELTA_BYTE_ARRAY = 7  # an encoding of texts by what they share with the one before: a byte can stand for a whole text
# Fields of the footer; of a group of rows; of one column in it, whose pages begin at a dictionary where it has one.
GROUPS, CHUNKS, ROWS, CHUNK = 4, 1, 3, 3
STORED, DATA, DICTIONARY = 7, 9, 11
# Fields of the header of a page; kind -> the field with what that kind has, where 1 are its values, and its encoding.
KIND, UNPACKED, PACKED = 1, 2, 3
PAGES = {0: (5, 2), 2: (7, 2), 3: (8, 4)}


def read_parquet(path: Path) -> pl.DataFrame:
    """Return the table in a Parquet file.

    Raises OSError where it cannot be read, and ValueError where it is damaged, or stands for more than MOST. The
    checksum is compared where there is one; files of other programs have none.
    """
    with open_regular(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        _compare_checksum(content)
        footer = _footer(content)
        try:
            values, unpacked = _measure(content, footer)
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError("it is no Parquet, or damaged") from error
        for found, (what, (most, each)) in zip((values, unpacked), MOST.items(), strict=True):
            if found > most + each * len(content):
                raise ValueError(f"its {len(content):,} bytes stand for {found:,} {what}, as no table of images does")
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # the second where columns contradict
        raise ValueError(f"it is damaged: {str(error).splitlines()[0]}") from error


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table as Parquet, with its checksum in bytes that other programs pass over."""
    table.write_parquet(path)
    content = path.read_bytes()
    place = _footer(content)
    path.write_bytes(content[:place] + MARK + content_hash_of(content).encode() + content[place:])


def _footer(content: mmap | bytes) -> int:
    """Return where the footer begins. Raises ValueError where there is none."""
    end = len(content) - TAIL
    length = int.from_bytes(content[end : end + 4], "little")
    if content[:4] != MAGIC or content[end + 4 :] != MAGIC or length > min(end, MOST_FOOTER):
        raise ValueError("it is no Parquet, or cut off")
    return end - length


def _compare_checksum(content: mmap) -> None:
    place = content.rfind(MARK)
    if place >= 0:
        digest = hashlib.blake2b(content[:place], digest_size=HASH_BYTES)
        digest.update(content[place + MARKED :])
        if digest.hexdigest().encode() != content[place + len(MARK) : place + MARKED]:
            raise ValueError("it was changed: its checksum differs")


def _measure(content: mmap, footer: int) -> tuple[int, int]:
    """Return how many values, and bytes of unpacked pages, a file stands for."""
    end = len(content) - TAIL
    groups = _Structs(content, footer, end).struct().get(GROUPS, [])
    chunks = [(_size(group[ROWS]), chunk[CHUNK]) for group in groups for chunk in group[CHUNKS]]
    if sum(_size(chunk[STORED]) for _, chunk in chunks) > end:
        raise ValueError("its columns are larger than the file")
    values, unpacked = sum(rows for rows, _ in chunks), 0
    for _, chunk in chunks:
        for page in _pages(content, chunk):
            field, encoding = PAGES[page[KIND]]
            if page[field][encoding] == DELTA_BYTE_ARRAY:
                raise ValueError("its encoding DELTA_BYTE_ARRAY is not read: write it with another")
            values, unpacked = values + _size(page[field][1]), unpacked + _size(page[UNPACKED])
    return values, unpacked


def _pages(content: mmap, chunk: Mapping[int, Any]) -> Iterator[Mapping[int, Any]]:
    """Yield the header of each page of one column in one group of rows."""
    place = _size(chunk.get(DICTIONARY) or chunk[DATA])
    end = place + chunk[STORED]
    while place < end:
        header = _Structs(content, place, min(end, place + MOST_HEADER))
        yield (page := header.struct())
        place = header.place + _size(page[PACKED])


def _size(number: int) -> int:
    if number < 0:
        raise ValueError("it has a negative size")
    return number


class _Structs:
    """Structs in the compact encoding of Thrift, of which footers and headers of pages are made: field -> value.

    place: of the next byte. end: behind the last one that may be read; what goes beyond it raises IndexError.
    """

    def __init__(self, content: mmap, place: int, end: int) -> None:
        self.content, self.place, self.end = content, place, end

    def struct(self, depth: int = 0) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            step, kind = divmod(head, 16)
            field = field + step if step else self._number()
            found[field] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._number()
        if kind in (7, 8):
            return self._bytes(8 if kind == 7 else self._unsigned())
        if kind in (9, 10):
            count, of = divmod(self._byte(), 16)
            return [self._value(of, depth + 1) for _ in range(count if count < 15 else self._unsigned())]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"it has a field of the unknown kind {kind}")

    def _byte(self) -> int:
        if self.place >= self.end:
            raise IndexError("cut off")
        self.place += 1
        return self.content[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        self.place += count
        return self.content[self.place - count : min(self.place, self.end)]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("it has a number of more than ten bytes")

    def _number(self) -> int:
        """Return a signed number; stored are 0, -1, 1, -2 ... as 0, 1, 2, 3."""
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
