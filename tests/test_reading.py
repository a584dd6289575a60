"""Files from elsewhere are read in bounded memory, or refused."""

import os
from pathlib import Path

import pytest

from conspecific.reading import json_keys, read_bounded


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
