"""Embeddings and results on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.errors import RunError
from conspecific.evaluation.evaluate import evaluate
from conspecific.evaluation.store import embeddings_damage, load_embeddings, read_facts, save_embeddings
from conspecific.types import EmbeddingSet, EvalResult, require_results

MakeManifest = Callable[..., Manifest]
LABELS = ["robin", "robin", "wren", "wren", "owl", "owl"]


def embedded(manifest: Manifest, ids: list[int]) -> EmbeddingSet:
    vectors = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    return EmbeddingSet(vectors, np.array(ids), manifest.labels[ids])


@pytest.fixture
def stored(make_manifest: MakeManifest, tmp_path: Path) -> tuple[Path, Manifest, EmbeddingSet]:
    manifest = make_manifest(LABELS)
    embeddings = embedded(manifest, [4, 0, 3])
    save_embeddings(tmp_path / "all", embeddings, manifest, {"weights": "f00d", "image_size": 32})
    return tmp_path / "all", manifest, embeddings


def test_what_is_saved_is_loaded(stored: tuple[Path, Manifest, EmbeddingSet]) -> None:
    folder, manifest, embeddings = stored
    loaded = load_embeddings(folder, manifest)
    np.testing.assert_array_equal(loaded.vectors, embeddings.vectors)
    np.testing.assert_array_equal(loaded.ids, embeddings.ids)
    np.testing.assert_array_equal(loaded.labels, embeddings.labels)
    assert isinstance(loaded.vectors, np.memmap)
    assert read_facts(folder) == {"weights": "f00d", "image_size": 32}


def test_the_table_says_row_for_row_what_the_vectors_are_of(stored: tuple[Path, Manifest, EmbeddingSet]) -> None:
    folder, manifest, _ = stored
    table = pl.read_parquet(folder / "images.parquet")
    assert table.columns == ["id", "path", "label"]
    assert table["id"].to_list() == [4, 0, 3]
    assert table["label"].to_list() == ["owl", "robin", "wren"]
    assert table["path"].to_list() == [manifest.table["path"][row] for row in (4, 0, 3)]


def test_saving_again_replaces_what_was_there(stored: tuple[Path, Manifest, EmbeddingSet]) -> None:
    folder, manifest, _ = stored
    (folder / ".DS_Store").touch()
    save_embeddings(folder, embedded(manifest, [1, 2]), manifest, {"weights": "f00d"})
    assert load_embeddings(folder, manifest).ids.tolist() == [1, 2]
    assert sorted(path.name for path in folder.iterdir()) == ["facts.json", "images.parquet", "vectors.npy"]
    assert [path.name for path in folder.parent.iterdir()] == ["all"]


def test_saving_replaces_nothing_that_it_did_not_make(
    stored: tuple[Path, Manifest, EmbeddingSet], tmp_path: Path
) -> None:
    folder, manifest, embeddings = stored
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"all holds notes.txt besides embeddings, which would be deleted\. Move what"):
        save_embeddings(folder, embeddings, manifest, {"weights": "f00d"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "facts.json").write_text('{"capital": "Paris"}')
    (tmp_path / "file").write_text("mine")
    for name, told in {"other": "holds other files than", "file": "is a file, and embeddings need a folder"}.items():
        with pytest.raises(RunError, match=f"{name} {told}"):
            save_embeddings(tmp_path / name, embeddings, manifest, {"weights": "f00d"})
    assert (folder / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_results_replace_nothing_but_results(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": [0], "neighbor_ids": [[1]]})
    EvalResult({}, {}, table).save(tmp_path / "model")
    require_results(tmp_path, ["model", "none"])
    for name, content in {"model.json": '{"layers": 3}', "model.parquet": "mine"}.items():
        EvalResult({}, {}, table).save(tmp_path / "model")
        (tmp_path / name).write_text(content)
        with pytest.raises(RunError, match=f"{name} is no stored result, and would be overwritten"):
            require_results(tmp_path, ["flatten", "model"])


def test_a_changed_byte_is_found(stored: tuple[Path, Manifest, EmbeddingSet]) -> None:
    folder = stored[0]
    assert embeddings_damage(folder) is None
    vectors = np.load(folder / "vectors.npy")
    vectors[1, 1] += 1
    np.save(folder / "vectors.npy", vectors)
    assert embeddings_damage(folder) == "vectors.npy was changed"
    with pytest.raises(RunError, match=r"usable embeddings: vectors\.npy was changed\. Delete it to compute it again"):
        load_embeddings(folder, stored[1])


def test_embeddings_that_stand_for_very_much_are_refused(stored: tuple[Path, Manifest, EmbeddingSet]) -> None:
    folder, manifest, _ = stored
    (folder / "facts.json").write_text('{"weights": "f00d"}')  # without checksums, as of another program
    vectors, table = folder / "vectors.npy", folder / "images.parquet"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole.replace(b"(3, 4), }         ", b"(3000000000, 4), }"))
    with pytest.raises(RunError, match=r"usable embeddings: its .* bytes are not those of 3,000,000,000 vectors"):
        load_embeddings(folder, manifest)
    vectors.write_bytes(whole)
    pl.DataFrame({"id": pl.repeat(True, 2**24, eager=True)}).write_parquet(table)
    with pytest.raises(RunError, match=r"usable embeddings: its .* bytes stand for 33,554,432 values"):
        load_embeddings(folder, manifest)


@pytest.mark.parametrize("other", [["robin", "wren"] * 3, LABELS[:4], [*LABELS[:4], "kite", "kite"]])
def test_embeddings_of_another_data_set_are_refused(
    other: list[str], stored: tuple[Path, Manifest, EmbeddingSet], make_manifest: MakeManifest
) -> None:
    with pytest.raises(RunError, match=r"all does not hold usable embeddings: .* Delete it to compute it again\."):
        load_embeddings(stored[0], make_manifest(other))


@pytest.mark.parametrize(
    "damage",
    ["no vectors", "no table", "cut vectors", "fewer rows", "repeated rows", "other type", "pickle", "garbage"],
)
def test_damaged_embeddings_are_refused(damage: str, stored: tuple[Path, Manifest, EmbeddingSet]) -> None:
    folder, manifest, embeddings = stored
    vectors, table = folder / "vectors.npy", folder / "images.parquet"
    if damage == "no vectors":
        vectors.unlink()
    elif damage == "no table":
        table.unlink()
    elif damage == "cut vectors":
        vectors.write_bytes(vectors.read_bytes()[:-4])
    elif damage == "fewer rows":
        pl.read_parquet(table)[:2].write_parquet(table)
    elif damage == "repeated rows":
        pl.read_parquet(table)[[0, 0, 1]].write_parquet(table)
    elif damage == "other type":
        np.save(vectors, embeddings.vectors.astype(np.float64))
    elif damage == "pickle":
        np.save(vectors, np.array([{}, {}, {}]), allow_pickle=True)
    else:
        table.write_bytes(b"garbage")
    with pytest.raises(RunError, match="does not hold usable embeddings"):
        load_embeddings(folder, manifest)


def test_facts_that_are_not_there_or_not_readable_are_none(tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    (tmp_path / "facts.json").write_text("{")
    assert read_facts(tmp_path) is None


def test_a_result_survives_being_stored(make_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = make_manifest(LABELS)
    everything = np.arange(6)
    embeddings = embedded(manifest, everything.tolist())
    result = evaluate(embeddings, Subset(everything, everything), manifest, "cosine", {"name": "model"})
    result.save(tmp_path / "results" / "test_model")
    loaded = EvalResult.load(tmp_path / "results" / "test_model")
    assert loaded.metrics == result.metrics
    assert loaded.facts == result.facts
    assert loaded.per_query.equals(result.per_query)
    assert json.loads((tmp_path / "results" / "test_model.json").read_text())["facts"]["name"] == "model"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["test_model.json", "test_model.parquet"]


def test_a_result_without_its_table_is_refused(make_manifest: MakeManifest, tmp_path: Path) -> None:
    (tmp_path / "test_model.json").write_text('{"metrics": {}, "facts": {}}')
    for stem in ("test_model", "nothing"):
        with pytest.raises(RunError, match=f"{stem}.json / .parquet is not a stored evaluation result"):
            EvalResult.load(tmp_path / stem)
