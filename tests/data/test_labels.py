"""One species has one name, however a table or a folder writes it."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from conspecific.data.labels import label_text, one_spelling
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_file

GUILLEMOT = "Br\u00fcnnich"


def spelt(*labels: str) -> list[str]:
    return one_spelling(pl.Series("label", labels))[0].to_list()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["robin", " robin", "robin\t", "robin\u00a0"], ["robin"] * 4),
        (["Black Tern", "Black  Tern", "Black Tern"], ["Black Tern"] * 3),
        ([GUILLEMOT, unicodedata.normalize("NFD", GUILLEMOT)], [GUILLEMOT] * 2),
        (["Robin", "robin", "robin"], ["robin"] * 3),
        (["ROBIN", "Robin"], ["ROBIN", "ROBIN"]),  # the first of equals
        (["3.0", "3", "3.0"], ["3"] * 3),
        ([" lone "], ["lone"]),
    ],
)
def test_spellings_of_one_species_become_one(labels: list[str], expected: list[str]) -> None:
    assert spelt(*labels) == expected
    assert len(one_spelling(pl.Series("label", labels))[1]) == 1


@pytest.mark.parametrize(
    "labels",
    [
        ["robin", "wren"],
        ["a", "A"],
        ["3.0", "4.0"],
        ["3", "03", "3.5"],
        ["Black Tern", "Black_Tern", "BlackTern"],
        ["1.0 mm", "1 mm"],
    ],
)
def test_other_labels_stay_as_they_are(labels: list[str]) -> None:
    assert spelt(*labels) == labels
    assert one_spelling(pl.Series("label", labels))[1] == ()


def test_the_note_names_what_was_read_as_what(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["robin", "robin", "Robin", "wren ", "wren"])
    assert manifest.species == ("robin", "wren")
    assert manifest.labels.tolist() == [0, 0, 0, 1, 1]
    assert manifest.notes == (
        "Species names that differ only in how they are written are read as one: "
        "'Robin' as 'robin', 'wren ' as 'wren'.",
    )


def test_whole_numbers_have_no_decimals_whatever_their_type() -> None:
    for values in ([3, 4, None], [3.0, 4.0, None], [3.0, 4.0, float("nan")]):
        assert label_text(pl.Series("label", values)).to_list() == ["3", "4", None]
    assert label_text(pl.Series("label", [3.5, 3.0, -2.0])).to_list() == ["3.5", "3", "-2"]


def test_missing_labels_of_a_parquet_table_are_missing(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a", "b", "c"], "label": [3.0, float("nan"), None]})
    table.write_parquet(tmp_path / "list.parquet")
    assert from_file(str(tmp_path / "list.parquet")).labels.tolist() == [0, -1, -1]
    table[:1].write_parquet(tmp_path / "list.parquet")
    assert from_file(str(tmp_path / "list.parquet")).species == ("3",)


def test_a_label_of_blanks_is_missing(make_manifest: Callable[..., Manifest]) -> None:
    assert make_manifest(["robin", "  "]).distractors.tolist() == [1]
