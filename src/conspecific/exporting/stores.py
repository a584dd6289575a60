"""Embeddings as tables of vector databases: a thin writer for each, by its embedded mode."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pyarrow as pa

from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError
from conspecific.files import write_whole_folder
from conspecific.types import EmbeddingSet, Similarity

TABLE = "vectors"  # its name in every database
BLOCK_BYTES = 16 << 20  # of vectors that are handed to a database at once


@dataclass(frozen=True)
class VectorTable:
    """Embeddings of images of a manifest as a table: id (sample id), label, path, vector (float32, of fixed length).

    The label is null where the species is unknown. similarity: how the vectors are compared.
    """

    embeddings: EmbeddingSet
    manifest: Manifest
    similarity: Similarity

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return int(self.embeddings.vectors.shape[1])

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in their order, in blocks of 16 MB of vectors."""
        step = max(1, BLOCK_BYTES // (4 * self.dimensions))
        for start in range(0, len(self.embeddings), step):
            rows = slice(start, start + step)
            ids = self.embeddings.ids[rows]
            vectors = pl.Series(
                values=self.embeddings.vectors[rows], dtype=pl.Array(pl.Float32, self.dimensions), name="vector"
            )
            yield self.manifest.table[ids].select(pl.Series("id", ids), "label", "path", vectors)

    def to_arrow(self) -> pa.RecordBatchReader:
        """Return the rows as a stream of Arrow."""
        columns = [("id", pa.int64()), ("label", pa.string()), ("path", pa.string())]
        schema = pa.schema([*columns, ("vector", pa.list_(pa.float32(), self.dimensions))])
        batches = (batch for block in self.blocks() for batch in block.to_arrow().cast(schema).to_batches())
        return pa.RecordBatchReader.from_batches(schema, batches)


def _write_parquet(table: VectorTable, path: Path) -> None:
    from pyarrow.parquet import ParquetWriter

    rows = table.to_arrow()
    with ParquetWriter(path, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


def _write_duckdb(table: VectorTable, path: Path) -> None:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        connection.register("rows", table.to_arrow())
        connection.execute(f"CREATE TABLE {TABLE} AS SELECT * FROM rows")


def _write_lancedb(table: VectorTable, path: Path) -> None:
    import lancedb

    lancedb.connect(path).create_table(TABLE, data=table.to_arrow())


def _write_qdrant(table: VectorTable, path: Path) -> None:
    from qdrant_client import QdrantClient, models

    distance = {"cosine": models.Distance.COSINE, "l2": models.Distance.EUCLID}[table.similarity]
    client = QdrantClient(path=str(path))
    try:
        client.create_collection(
            TABLE, vectors_config=models.VectorParams(size=table.dimensions, distance=distance, on_disk=True)
        )
        for block in table.blocks():
            client.upsert(
                TABLE,
                models.Batch(
                    ids=block["id"].to_list(),
                    vectors=block["vector"].to_list(),
                    payloads=block.select("label", "path").to_dicts(),
                ),
            )
    finally:
        client.close()


def _write_milvus(table: VectorTable, path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("label", DataType.VARCHAR, max_length=65535, nullable=True)
    schema.add_field("path", DataType.VARCHAR, max_length=65535)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=table.dimensions)
    index = MilvusClient.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type={"cosine": "COSINE", "l2": "L2"}[table.similarity])
    client = MilvusClient(str(path))
    try:
        client.create_collection(TABLE, schema=schema, index_params=index)
        for block in table.blocks():
            client.insert(TABLE, block.to_dicts())
        client.flush(TABLE)
    finally:
        client.close()
        server_manager_instance.release_server(str(path))  # it would keep the folder locked until the process ends


@dataclass(frozen=True)
class Store:
    """A kind of table that other programs search. name: of its file or folder. packages: that write it."""

    name: str
    packages: tuple[str, ...]
    write: Callable[[VectorTable, Path], None]


STORES: dict[str, Store] = {
    "parquet": Store("vectors.parquet", (), _write_parquet),
    "duckdb": Store("vectors.duckdb", ("duckdb",), _write_duckdb),
    "lancedb": Store("database", ("lancedb",), _write_lancedb),
    "qdrant": Store("database", ("qdrant_client",), _write_qdrant),
    "milvus": Store("milvus.db", ("pymilvus", "milvus_lite"), _write_milvus),
}


def require_store(name: str) -> None:
    """Raise ConfigError where a package that writes a store is missing."""
    missing = [package for package in STORES[name].packages if find_spec(package) is None]
    if missing:
        raise ConfigError(f"store={name} needs {' and '.join(missing)}: pip install 'conspecific[vectordb]'")


def write_store(name: str, table: VectorTable, folder: Path) -> Path:
    """Write a table into `folder`/`name`, whole or not at all, in place of one that was there; return its path.

    Raises ConfigError as `require_store` does.
    """
    require_store(name)
    store = STORES[name]
    with write_whole_folder(folder / name) as temporary:
        store.write(table, temporary / store.name)
    return folder / name / store.name
