"""Vector databases answer as our exact search does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError
from conspecific.exporting import stores
from conspecific.exporting.stores import STORES, VectorTable, write_store
from conspecific.index import Searcher
from conspecific.types import EmbeddingSet, FloatArray, Similarity

K = 10
Ask = Callable[[Path, FloatArray, Similarity], list[int]]


def ask_parquet(path: Path, query: FloatArray, similarity: Similarity) -> list[int]:
    table = pl.read_parquet(path)
    assert table.schema["vector"] == pl.Array(pl.Float32, len(query))
    vectors = table["vector"].to_numpy()
    scores = vectors @ query if similarity == "cosine" else -((vectors - query) ** 2).sum(1)
    return [int(each) for each in table["id"].to_numpy()[np.argsort(-scores)[:K]]]


def ask_duckdb(path: Path, query: FloatArray, similarity: Similarity) -> list[int]:
    import duckdb

    distance = {"cosine": "array_cosine_distance", "l2": "array_distance"}[similarity]
    order = f"SELECT id FROM vectors ORDER BY {distance}(vector, ?::FLOAT[{len(query)}]) LIMIT {K}"
    with duckdb.connect(str(path), read_only=True) as connection:
        return [found for (found,) in connection.execute(order, [query.tolist()]).fetchall()]


def ask_lancedb(path: Path, query: FloatArray, similarity: Similarity) -> list[int]:
    import lancedb

    found = lancedb.connect(path).open_table("vectors").search(query).distance_type(similarity).limit(K)
    return [row["id"] for row in found.to_list()]


def ask_qdrant(path: Path, query: FloatArray, similarity: Similarity) -> list[int]:
    from qdrant_client import QdrantClient

    client = QdrantClient(path=str(path))
    points = client.query_points("vectors", query=query.tolist(), limit=K).points
    assert {"label", "path"} == set(points[0].payload or {})
    client.close()
    return [int(point.id) for point in points]


def ask_milvus(path: Path, query: FloatArray, similarity: Similarity) -> list[int]:
    from milvus_lite.server_manager import server_manager_instance
    from pymilvus import MilvusClient

    client = MilvusClient(str(path))
    client.load_collection("vectors")
    [found] = client.search("vectors", [query.tolist()], limit=K, output_fields=["label", "path"])
    client.close()
    server_manager_instance.release_server(str(path))
    return [row["id"] for row in found]


ASK: dict[str, Ask] = {
    "parquet": ask_parquet,
    "duckdb": ask_duckdb,
    "lancedb": ask_lancedb,
    "qdrant": ask_qdrant,
    "milvus": ask_milvus,
}


@pytest.fixture
def embedded(make_manifest: Callable[..., Manifest]) -> tuple[Manifest, FloatArray]:
    """60 images of three species, and vectors of them that no two distances tie between."""
    vectors = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    return make_manifest(["robin", "wren", "owl"] * 20), vectors


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
@pytest.mark.parametrize("name", STORES)
def test_a_store_answers_as_our_exact_search_does(
    name: str,
    similarity: Similarity,
    embedded: tuple[Manifest, FloatArray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in STORES[name].packages:
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setattr(stores, "BLOCK_BYTES", 17 * 4 * 16)  # four blocks, the last one smaller
    manifest, vectors = embedded
    if similarity == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.random.default_rng(1).permutation(60)
    gallery, queries = (EmbeddingSet(vectors[part], part, manifest.labels[part]) for part in (ids[:55], ids[55:]))
    path = write_store(name, VectorTable(gallery, manifest, similarity), tmp_path / "out")
    assert path.parent == tmp_path / "out" / name
    expected = Searcher(gallery, similarity).search(queries, K).ids
    found = [ASK[name](path, query, similarity) for query in queries.vectors]
    np.testing.assert_array_equal(found, expected)


def test_a_table_has_species_and_paths_and_is_replaced(embedded: tuple[Manifest, FloatArray], tmp_path: Path) -> None:
    manifest, vectors = embedded
    unknown = Manifest.from_table(
        tmp_path, pl.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["x", "x"]}), labelled=False
    )
    for images, ids in ((manifest, np.array([4, 2])), (unknown, np.array([1, 0]))):
        given = EmbeddingSet(vectors[ids], ids, images.labels[ids])
        table = pl.read_parquet(write_store("parquet", VectorTable(given, images, "cosine"), tmp_path))
        assert table.columns == ["id", "label", "path", "vector"]
        for name in ("path", "label"):
            assert table[name].to_list() == images.table[name].gather(ids).to_list()
        np.testing.assert_array_equal(table["vector"].to_numpy(), vectors[ids])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = stores.find_spec
    monkeypatch.setattr(stores, "find_spec", lambda name: None if name == "milvus_lite" else real(name))
    with pytest.raises(ConfigError, match=r"store=milvus needs (pymilvus and )?milvus_lite: pip install 'conspecific"):
        stores.require_store("milvus")
