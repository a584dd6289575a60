"""The answers of a search as a table and as a picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.reporting.answers import own_picture, write_picture, write_table
from conspecific.runs.answers import Answers
from conspecific.types import Neighbors


@pytest.fixture
def answers(make_folder: Callable[..., Path], tmp_path: Path) -> Answers:
    manifest: Manifest = from_folder(str(make_folder({"=cmd|robin": 2, "wren_b": 1})))
    Image.new("RGB", (50, 50)).save(tmp_path / "@query.png")
    neighbors = Neighbors(np.array([[2, 0]]), np.array([[0.75, -0.5]], np.float32))
    return Answers((tmp_path / "@query.png",), manifest, neighbors, tmp_path)


def test_a_spreadsheet_computes_nothing_of_a_table(answers: Answers, tmp_path: Path) -> None:
    write_table(tmp_path / "answers.csv", answers)
    table = pl.read_csv(tmp_path / "answers.csv")
    assert table["species"].to_list() == ["wren b", "'=cmd|robin"]
    assert table["path"].to_list() == ["wren_b/00.png", "'=cmd|robin/00.png"]
    assert table["score"].to_list() == [0.75, -0.5]


def test_a_picture_of_the_same_query_is_replaced_and_no_other_file(answers: Answers, tmp_path: Path) -> None:
    query, weights = answers.queries[0], tmp_path / "run" / "weights.safetensors"
    (tmp_path / "search_@query.png").write_text("notes of my own")
    file, mark = own_picture(tmp_path, query, weights)
    assert file.name == "search_@query-2.png"
    write_picture(file, answers, 0, mark)
    assert own_picture(tmp_path, query, weights) == (file, mark)
    assert own_picture(tmp_path, query, tmp_path / "other")[0].name == "search_@query-3.png"
