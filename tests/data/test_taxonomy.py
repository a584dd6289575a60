"""Ranks above species that a table names."""

from pathlib import Path

import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_file
from conspecific.errors import DataError

BIRDS = """path,label,genus,family,habitat
a.jpg,Herring Gull,Larus,Laridae,coast
b.jpg,herring gull,larus,Laridae,town
c.jpg,Common Gull,Larus,Laridae,coast
d.jpg,Common Tern,Sterna,Laridae,coast
e.jpg,Great Tit,Parus,,wood
f.jpg,,Parus,Paridae,wood
"""


def read(folder: Path, text: str = BIRDS, ranks: list[str] | None = None) -> Manifest:
    (folder / "birds.csv").write_text(text)
    return from_file(str(folder / "birds.csv"), ranks=ranks)


def test_genus_and_family_are_read_where_there_are_such_columns(tmp_path: Path) -> None:
    manifest = read(tmp_path)
    gulls = {"Common Gull": "Larus", "Herring Gull": "Larus"}
    assert dict(manifest.taxa) == {
        "genus": {**gulls, "Common Tern": "Sterna", "Great Tit": "Parus"},
        "family": dict.fromkeys(("Common Gull", "Common Tern", "Herring Gull"), "Laridae"),
    }
    assert list(manifest.taxa) == ["genus", "family"]
    assert "6 images of 4 species, 3 of rank genus, 1 of rank family in" in manifest.describe()[0]
    assert any("'larus' as 'Larus'" in note for note in manifest.notes)
    assert manifest.only(["a.jpg", "d.jpg"]).taxa == manifest.taxa


def test_ranks_can_be_named_or_left_out(tmp_path: Path) -> None:
    assert list(read(tmp_path, ranks=["family"]).taxa) == ["family"]
    assert dict(read(tmp_path, ranks=[]).taxa) == {}
    assert dict(Manifest.from_table(tmp_path, pl.DataFrame({"path": ["a"], "label": ["x"], "genus": ["y"]})).taxa) == {}
    with pytest.raises(DataError, match=r"no column tribe, but path, label, .* data\.ranks=\[genus,family\]"):
        read(tmp_path, ranks=["tribe"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("g.jpg,Great Tit,Cyanistes,,x", r"1 species have more than one genus: Great Tit \(Cyanistes, Parus\)"),
        ("g.jpg,Kittiwake,Sterna,Sternidae,x", r"1 genus have more than one family: Sterna \(Laridae, Sternidae\)"),
    ],
)
def test_a_taxon_has_one_at_the_next_rank(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, BIRDS + line)


def test_what_is_cached_depends_on_the_ranks(tmp_path: Path) -> None:
    for name in "abcdef":
        (tmp_path / f"{name}.jpg").touch()
    found = {read(tmp_path, ranks=ranks).fingerprint() for ranks in (None, ["genus"], [])}
    assert len(found) == 3
