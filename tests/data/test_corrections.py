"""Corrections of labels: applied when data are loaded, whatever the source, and refused where they do not fit."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import SuspectsConfig, TrainConfig
from conspecific.config.targets import check_targets
from conspecific.data.check import check_manifest
from conspecific.data.corrections import Correction, correct, load_manifest
from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError, DataError
from conspecific.tables import csv_text

FOLDER = "conspecific.data.sources.from_folder"


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"robin": 3, "wren": 3, "=jay": 2})


def written(file: Path, *rows: tuple[str, str, str, str]) -> str:
    table = pl.DataFrame(rows, schema=["path", "label_before", "label", "decision"], orient="row")
    file.write_text(csv_text(table.cast(pl.String)))
    return str(file)


def test_labels_change_and_images_are_left_out(root: Path, tmp_path: Path) -> None:
    rows = [
        ("robin/00.png", "robin", "wren", "same"),
        ("robin/01.png", "robin", "", "out"),
        ("wren/00.png", "wren", "dunnock", "new"),
        ("wren/01.png", "wren", "", "different"),
        ("wren/02.png", "another", "", "skip"),  # decides nothing, so that it cannot be wrong
        ("=jay/00.png", "=jay", "wren", "same"),
        ("robin/00.png", "wren", "robin", "same"),  # once more: the last one counts
        ("robin/00.png", "robin", "wren", "same"),
    ]
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*.png")}
    node = {"_target_": FOLDER, "root": str(root)}
    manifest = load_manifest({**node, "corrections": written(tmp_path / "c.csv", *rows)})
    found = dict(manifest.table.select("path", "label").iter_rows())
    assert found == {
        "=jay/00.png": "wren",
        "=jay/01.png": "=jay",
        "robin/00.png": "wren",
        "robin/02.png": "robin",
        "wren/00.png": "dunnock",
        "wren/01.png": "wren",
        "wren/02.png": "wren",
    }
    assert manifest.species == ("=jay", "dunnock", "robin", "wren")
    told = "Corrections: 3 labels changed, 1 image left out, 1 new species (dunnock)"
    assert told in manifest.describe()
    plain = load_manifest({**node, "corrections": None})
    assert plain.corrections == "" and len(plain) == 8
    assert check_manifest(manifest, tmp_path)[1] != check_manifest(plain, tmp_path)[1]
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*.png")} == before


def test_min_images_counts_what_the_corrections_leave(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "c.csv", ("robin/00.png", "robin", "=jay", "same"))
    manifest = load_manifest({"_target_": FOLDER, "root": str(root), "min_images": 3, "corrections": file})
    assert manifest.species == ("=jay", "wren") and manifest.few == ("robin",)


def test_images_without_labels_get_some(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"robin": 3})
    node = {"_target_": "conspecific.data.sources.from_images", "root": str(root / "robin")}
    rows = ("00.png", "", "robin", "new"), ("01.png", "", "robin", "same")
    manifest = load_manifest({**node, "corrections": written(tmp_path / "c.csv", *rows)})
    assert manifest.table["label"].to_list() == ["robin", "robin"]
    assert "1 image without a label left out" in manifest.corrections


def test_a_distractor_gets_a_label_and_the_others_stay(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a", "b", "c", "d"], "label": ["robin", "robin", None, None]})
    manifest = correct(Manifest.from_table(tmp_path, table), [Correction("c", "", "wren", "new")])
    assert manifest.table["label"].to_list() == ["robin", "robin", "wren", None]
    assert manifest.labels.tolist() == [0, 0, 1, -1]
    assert manifest.corrections == "1 label changed, 0 images left out, 1 new species (wren)"


def test_what_does_not_fit_the_data_is_named(root: Path, tmp_path: Path) -> None:
    rows = ("robin/9.png", "robin", "wren", "same"), ("wren/00.png", "robin", "", "out")
    node = {"_target_": FOLDER, "root": str(root), "corrections": written(tmp_path / "c.csv", *rows)}
    with pytest.raises(DataError, match=r"1 not there: robin/9\.png; 1 with another label: ") as e:
        load_manifest(node)
    assert "wren/00.png (wren, not robin)" in str(e.value)
    everything = [
        (f"{label}/{n:02}.png", label, "", "out") for label, most in (("robin", 3), ("wren", 3)) for n in range(most)
    ]
    everything += [("=jay/00.png", "=jay", "", "out"), ("=jay/01.png", "=jay", "", "out")]
    with pytest.raises(DataError, match="leave none of 8 images"):
        load_manifest({**node, "corrections": written(tmp_path / "c.csv", *everything)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na,b\n", "has no column label_before, decision, but path, label"),
        ("path,label_before,label,decision\na,b,c,sane\n", "row 1 is 'sane'. Did you mean same"),
        ("path,label_before,label,decision\na,b,,new\n", r"row 1 \(a\) has no label"),
        ("path,label_before,label,decision\n,b,c,new\n", "row 1 has no path"),
    ],
)
def test_what_is_no_table_of_corrections_is_told(root: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_manifest({"_target_": FOLDER, "root": str(root), "corrections": str(tmp_path / "c.csv")})
    with pytest.raises(DataError, match="is not a file: conspecific review RUN writes one"):
        load_manifest({"_target_": FOLDER, "root": str(root), "corrections": str(tmp_path / "d.csv")})


def test_every_source_of_data_takes_the_key(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in ("folder", "images"):
        words = [f"data={source}", f"data.root={root}", "data.corrections=my file.csv"]
        assert typed(compose_config("train", words), TrainConfig).data["corrections"] == str(tmp_path / "my file.csv")
        used = typed(compose_config("suspects", words), SuspectsConfig)
        assert used.data is not None and used.data["corrections"] == str(tmp_path / "my file.csv")
    assert typed(compose_config("train", []), TrainConfig).data["corrections"] is None
    alone = typed(compose_config("suspects", ["data.corrections=c.csv"]), SuspectsConfig)
    assert alone.data == {"corrections": str(tmp_path / "c.csv")}
    with pytest.raises(ConfigError, match=r"data\.corrections=3\.5 is of another type"):
        check_targets({"data": {"_target_": FOLDER, "root": "a", "corrections": 3.5}})
    with pytest.raises(ConfigError, match=r"loss\.corrections"):
        typed(compose_config("train", ["+loss.corrections=c.csv"]), TrainConfig)
