"""Indexes of every kind: what they find, how they change, and what they refuse to read."""

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conspecific.errors import ConfigError, DataError, RunError
from conspecific.index import Index
from conspecific.index.gallery_index import require_encoder
from conspecific.index.kinds import KINDS, bytes_of, choose_kind
from conspecific.reading import read_json
from conspecific.types import EmbeddingSet, FloatArray, Similarity

IMAGES, DIMENSIONS = 700, 16
ENCODER = {"weights": "f00d", "image_size": 96}


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((70, DIMENSIONS))[np.arange(IMAGES) % 70]
    return (centres + 0.4 * rng.standard_normal((IMAGES, DIMENSIONS))).astype(np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def paths(count: int, start: int = 0) -> list[str]:
    return [f"wren/{number}.jpg" for number in range(start, start + count)]


def as_queries(index: Index) -> EmbeddingSet:
    ids = index.images["id"].to_numpy()[:50]
    return EmbeddingSet(np.array(index.vectors[:50]), ids, np.full(50, -1))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_exact_scores_and_nearly_the_exact_neighbours(
    kind: str, metric: Similarity, vectors: FloatArray, tmp_path: Path, cache: Path
) -> None:
    exact = Index.build(vectors, paths(IMAGES), kind="exact", similarity=metric)
    index = Index.build(vectors, paths(IMAGES), kind=kind, similarity=metric)
    wanted, found = (each.search(as_queries(each), 10) for each in (exact, index))
    shared = [len(set(one) & set(other)) for one, other in zip(wanted.ids.tolist(), found.ids.tolist(), strict=True)]
    assert np.mean(shared) >= 8.5
    same = wanted.ids == found.ids
    np.testing.assert_allclose(found.scores[same], wanted.scores[same], atol=2e-4)
    assert not (found.ids == as_queries(index).ids[:, None]).any(), "a query leaves itself out"
    assert index.bytes_per_image < 2 * bytes_of(index.kind, DIMENSIONS) + 40
    index.save(tmp_path / "index", cache=cache)
    again = Index.open(tmp_path / "index", cache=cache).search(as_queries(index), 10)
    assert np.array_equal(again.ids, found.ids) and np.array_equal(again.scores, found.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_images_come_and_go(kind: str, vectors: FloatArray, tmp_path: Path, cache: Path) -> None:
    index = Index.build(vectors[:650], paths(650), kind=kind)
    how = index.remove([3, 649])
    assert ("built again" in how) == (kind == "hnsw")
    new = index.add(vectors[650:], paths(50, 650), ["owl"] * 50, ["c"] * 50)
    assert new.tolist() == list(range(650, 700)), "ids are never used twice"
    index.relabel({0: "wren"})
    index.save(tmp_path / "index", cache=cache)
    index = Index.open(tmp_path / "index", cache=cache)
    found = index.search(vectors[[3, 649, 660, 4]], 1)
    assert found.ids[2:, 0].tolist() == [660, 4]
    assert not {3, 649} & set(index.search(vectors, 20).ids.ravel().tolist())
    assert index.rows(np.array([4, 3, 660])).tolist() == [3, -1, 658]
    assert index.images["label"][0] == "wren" and index.images["label"][658] == "owl"
    with pytest.raises(DataError, match="are in the index, first wren/660"):
        index.add(vectors[:1], ["wren/660.jpg"])
    with pytest.raises(DataError, match="1 ids are not in the index"):
        index.remove([3])


def test_auto_chooses_by_size_and_memory() -> None:
    assert choose_kind("auto", 1000, 512, 4) == "exact"
    assert choose_kind("auto", 100_000, 512, 4) == "hnsw"
    assert choose_kind("auto", 10_000_000, 512, 4) == "ivfpq"
    assert choose_kind("auto", 40_000, 1280, 0.1) == "sq8"
    with pytest.raises(ConfigError, match="Did you mean hnsw"):
        choose_kind("hnws", 10, 2, 4)
    with pytest.raises(ConfigError, match="ivfpq needs 624 images"):
        choose_kind("ivfpq", 100, 16, 4)


def test_what_another_machine_wrote_is_searched_without_reading_its_structure(
    vectors: FloatArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.build(vectors, paths(IMAGES), kind="hnsw")
    index.save(tmp_path / "index", cache=tmp_path / "theirs", encoder=[_network(tmp_path)])
    monkeypatch.setattr("faiss.read_index", None)
    said: list[str] = []
    opened = Index.open(tmp_path / "index", cache=tmp_path / "ours", say=said.append)
    assert "built again, not read" in said[0]
    assert opened.contents is not None and opened.contents.encoder == ()
    assert opened.search(vectors[:5], 1).ids[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_changed_index_keeps_its_network(vectors: FloatArray, tmp_path: Path, cache: Path) -> None:
    Index.build(vectors, paths(IMAGES)).save(tmp_path / "index", cache=cache, encoder=[_network(tmp_path)])
    opened = Index.open(tmp_path / "index", cache=cache)
    opened.remove([0])
    opened.save(tmp_path / "index", cache=cache)
    kept = Index.open(tmp_path / "index", cache=cache).contents
    assert kept is not None and [file.read_bytes() for file in kept.encoder] == [b"onnx"]


def _network(folder: Path) -> Path:
    _write(folder / "encoder.onnx", b"onnx")
    return folder / "encoder.onnx"


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _truncate(folder: Path) -> None:
    content = (folder / "index.faiss").read_bytes()
    (folder / "index.faiss").write_bytes(content[:-8])


def _flip(folder: Path) -> None:
    content = bytearray((folder / "index.faiss").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "index.faiss").write_bytes(bytes(content))


def _lose(folder: Path) -> None:
    (folder / "vectors.npy").unlink()


def _plant(folder: Path) -> None:
    (folder / "more.py").write_text("")


def _change(folder: Path, **facts: Any) -> None:
    stored = read_json(folder / "index.json")
    (folder / "index.json").write_text(json.dumps({**stored, **facts}))  # without its checksum


def _swap(folder: Path, name: str, content: bytes) -> None:
    """Put another file in place of one, as somebody would who knows about the checksums."""
    _write(folder / name, content)
    files = json.loads((folder / "index.json").read_text())["files"]
    _change(folder, files={**files, name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}})


def _bomb() -> bytes:
    pl.DataFrame({"id": pl.repeat(True, 2**24, eager=True)}).write_parquet(content := io.BytesIO())
    return content.getvalue()


DAMAGE = {
    "bytes stand for 33,554,432 values": lambda folder: _swap(folder, "images.parquet", _bomb()),
    "are not those of 900,700 vectors": lambda folder: _swap(
        folder, "vectors.npy", (folder / "vectors.npy").read_bytes().replace(b"(700, 16), }   ", b"(900700, 16), }")
    ),
    "Larger than 16 MiB": lambda folder: _write(folder / "index.json", b" " * 2**24 + b"{}"),
    "index.faiss has .* bytes and should have": _truncate,
    "index.faiss was changed: its checksum differs": _flip,
    "vectors.npy is missing or not listed": _lose,
    "more.py is missing or not listed": _plant,
    "vectors.npy holds vectors of shape": lambda folder: _change(folder, dimensions=8),
    "is an index of version 9": lambda folder: _change(folder, schema_version=9),
    "names kind 'zip'": lambda folder: _change(folder, kind="zip"),
    "Expecting value": lambda folder: _write(folder / "index.json", b"[" * 9),
}


@pytest.mark.parametrize("told", DAMAGE)
def test_no_byte_of_a_damaged_index_reaches_faiss(
    told: str, vectors: FloatArray, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.build(vectors, paths(IMAGES), kind="ivf").save(tmp_path / "index", cache=cache)
    DAMAGE[told](tmp_path / "index")
    monkeypatch.setattr("faiss.read_index", None)
    with pytest.raises(RunError, match=told):
        Index.open(tmp_path / "index", cache=cache)


def test_paths_that_lead_out_of_the_root_are_refused(vectors: FloatArray, tmp_path: Path, cache: Path) -> None:
    Index.build(vectors[:2], ["a.jpg", "../../secret.png"]).save(tmp_path / "index", cache=cache)
    with pytest.raises(RunError, match=r"1 paths in images\.parquet lead out of the root folder"):
        Index.open(tmp_path / "index", cache=cache)


def test_an_index_of_other_weights_is_refused(vectors: FloatArray, tmp_path: Path, cache: Path) -> None:
    index = Index.build(vectors, paths(IMAGES), encoder=ENCODER)
    index.save(tmp_path / "index", cache=cache)
    assert len(Index.open(tmp_path / "index", encoder=ENCODER, cache=cache)) == IMAGES
    with pytest.raises(RunError, match="belongs to another encoder: weights f00d and not beef"):
        Index.open(tmp_path / "index", encoder={**ENCODER, "weights": "beef"}, cache=cache)
    with pytest.raises(RunError, match="image_size 96 and not 224"):
        require_encoder(index.stored, {**ENCODER, "image_size": 224}, tmp_path)


def test_saving_deletes_nothing_but_an_index(vectors: FloatArray, tmp_path: Path, cache: Path) -> None:
    index = Index.build(vectors[:9], paths(9))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    (tmp_path / "letters" / "index.json").write_text('{"dear": 1}')
    with pytest.raises(RunError, match="holds other files than those of an index"):
        index.save(tmp_path / "letters", cache=cache)
    index.save(tmp_path / "index", cache=cache)
    index.save(tmp_path / "index", cache=cache)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "index", "letters"]
    assert (cache / "index.key").stat().st_mode & 0o77 == 0, "nobody else can seal"
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(RunError, match=r"is not an index: it has no index\.json"):
        Index.open(tmp_path / "index", cache=cache)
