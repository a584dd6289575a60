"""Ranks above species that a table names."""

from pathlib import Path

import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_file, from_folder
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


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


LEVELS = ["family", "genus", "species"]


def test_folders_are_ranks(tmp_path: Path) -> None:
    gulls = "Laridae/Larus/Common Gull/a.jpg", "Laridae/Larus/Herring Gull/2021/b.jpg", "Laridae/Sterna/Tern/c.jpg"
    folders(tmp_path, *gulls, "Paridae/Parus/Great Tit/d.jpg", "Paridae/Parus/e.jpg")
    (tmp_path / "Paridae" / "Cyanistes" / "Blue Tit").mkdir(parents=True)
    manifest = from_folder(str(tmp_path), levels=LEVELS)
    assert manifest.species == ("Common Gull", "Great Tit", "Herring Gull", "Tern")
    assert list(manifest.taxa) == ["genus", "family"], "the lowest first, as of a table"
    assert [manifest.taxa[rank]["Herring Gull"] for rank in manifest.taxa] == ["Larus", "Laridae"]
    assert "4 images of 4 species, 3 of rank genus, 2 of rank family in" in manifest.describe()[0]
    told = manifest.describe_left_out()
    assert "1 beside the species folders (Paridae/Parus/e.jpg)" in told and "Paridae/Cyanistes/Blue Tit" in told
    burst = from_folder(str(tmp_path), levels=LEVELS, group_level=3)
    assert burst.table["group"].drop_nulls().to_list() == ["Laridae/Larus/Herring Gull/2021"]


def test_folders_of_ranks_lie_below_those_of_splits(tmp_path: Path) -> None:
    folders(tmp_path, "train/Larus/Common Gull/a.jpg", "test/Larus/Common Gull/b.jpg", "test/Parus/Great Tit/c.jpg")
    manifest = from_folder(str(tmp_path), levels=["genus", "species"])
    assert dict(manifest.taxa) == {"genus": {"Common Gull": "Larus", "Great Tit": "Parus"}}
    assert manifest.table["split"].to_list() == ["test", "test", "train"]
    assert manifest.notes == ("The folders test, train are splits; in them are the folders of genus.",)


def test_species_of_one_epithet_are_called_by_genus_too(tmp_path: Path) -> None:
    folders(tmp_path, "Parus/major/a.jpg", "Dendrocopos/major/b.jpg", "Parus/minor/c.jpg", "Larus/Larus canus/d.jpg")
    manifest = from_folder(str(tmp_path), levels=["genus", "species"])
    assert manifest.species == ("Dendrocopos major", "Larus canus", "Parus major", "Parus minor")
    assert manifest.notes == (
        "Species folders in more than one genus have the name major: species are called by genus too.",
    )
    misplaced = folders(tmp_path / "other", "Larus/Larus canus/a.jpg", "Parus/Larus canus/b.jpg", "Larus/a/c.jpg")
    with pytest.raises(DataError, match=r"1 species have more than one genus: Larus canus \(Larus, Parus\)"):
        from_folder(str(misplaced), levels=["genus", "species"])


@pytest.mark.parametrize("levels", [[], ["genus"], ["species", "genus"], ["genus", "genus", "species"], "genus"])
def test_levels_end_with_species(tmp_path: Path, levels: list[str]) -> None:
    folders(tmp_path, "Parus/major/a.jpg")
    with pytest.raises(DataError, match=r"data\.levels=\[.*\] must name the folders from the uppermost"):
        from_folder(str(tmp_path), levels=levels)


def test_a_tree_that_is_not_so_deep_has_no_images(tmp_path: Path) -> None:
    folders(tmp_path, "Parus/major/a.jpg")
    with pytest.raises(DataError, match=r"manifest is empty\. 1 file left out: 1 beside the species folders"):
        from_folder(str(tmp_path), levels=LEVELS, group_level=3)
