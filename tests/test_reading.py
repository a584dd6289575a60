"""Files from elsewhere are read in bounded memory, or refused."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conspecific.files import write_checked_json
from conspecific.reading import MOST_JSON, json_keys, open_vectors, read_bounded, read_json


def test_a_file_is_read_up_to_a_limit_and_a_pipe_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_bytes(b"12345678")
    assert read_bounded(tmp_path / "facts.json", 8) == b"12345678"
    with pytest.raises(OSError, match="Larger than"):
        read_bounded(tmp_path / "facts.json", 7)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(OSError, match="Not a regular file"):
        read_bounded(tmp_path / "pipe.json", 7)


def test_what_is_no_mapping_has_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    for content, keys in {'{"a": 1, "b": 2}': {"a", "b"}, "[{}]": set(), "{": set(), "[" * 100_000: set()}.items():
        file.write_text(content)
        assert json_keys(file) == keys
    assert json_keys(tmp_path / "none.json") == set()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ("[" + "0," * MOST_JSON + "0]", "Larger than 16 MiB"),
        ("1" * 5000, "Exceeds the limit"),
        ("{", "Expecting property name"),
        (b"\xff{}", "can't decode"),
    ],
    ids=["deep", "large", "number", "cut", "bytes"],
)
def test_json_is_read_in_bounded_memory(content: str | bytes, told: str, tmp_path: Path) -> None:
    (file := tmp_path / "facts.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((OSError, ValueError), match=told):
        read_json(file)


def test_a_changed_digit_of_checked_json_is_found(tmp_path: Path) -> None:
    content = {"recall@1": 0.25, "names": ["\u00e9", "\udcff", None], "nan": [float("inf"), 1e-9, 10**20], "1": {}}
    write_checked_json(file := tmp_path / "facts.json", content)
    assert read_json(file) == content and json_keys(file) == content.keys()
    file.write_text(file.read_text().replace("0.25", "0.26"))
    with pytest.raises(ValueError, match="it was changed: its checksum differs"):
        read_json(file)


def npy(shape: object, kind: str = "<f4", data: bytes = b"x" * 24) -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (npy((10**9, 512)), "are not those of 1,000,000,000 vectors"),
        (npy((2**62, 4)), "are not those of"),
        (npy((2**64, 2**64)), "are not those of"),
        (npy((2, 4)), "are not those of 2 vectors of 4 dimensions"),
        (npy((0, 2**62)), "it holds float32 of shape"),
        (npy((-2, -3)), "it holds float32 of shape"),
        (npy((6,)), "it holds float32 of shape"),
        (npy((2, 3), "<f8", b"x" * 48), "it holds float64 of shape"),
        (npy((2, 3), "|O"), "it holds object of shape"),
        (npy("(2, 3"), "its header is damaged"),
        (npy("__import__('os')"), "malformed node"),
        (b"\x93NUMPY\x03\0", "of an unknown version"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff", "EOF"),
        (b"", "EOF"),
    ],
)
def test_vectors_are_what_their_header_says(content: bytes, told: str, tmp_path: Path) -> None:
    (file := tmp_path / "vectors.npy").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        open_vectors(file)


@given(st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
@settings(
    max_examples=150, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_vectors_are_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], in_columns: bool) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(file := tmp_path / "vectors.npy", np.asfortranarray(vectors) if in_columns else vectors)
    assert np.array_equal(open_vectors(file), vectors)
    content = bytearray(file.read_bytes())
    for place, byte in changes:
        content[place % 128] = byte
    file.write_bytes(content)
    try:
        assert open_vectors(file).size == 12
    except ValueError as error:
        assert str(error)
