"""conspecific embed: write the embeddings of any folder of images."""

from pathlib import Path

from conspecific.config.schema import EmbedConfig
from conspecific.exporting.stores import VectorTable, require_store, write_store
from conspecific.runs.open import open_run
from conspecific.tables import PlainConsole


def run(config: EmbedConfig) -> None:
    """Embed every image, write vectors.npy, images.parquet and facts.json, and a database where one is asked for."""
    if config.store is not None:
        require_store(config.store)  # before the work, not after
    console = PlainConsole()
    opened = open_run(config)
    folder, manifest, embeddings = opened.embed_all(
        console, Path(config.output).expanduser() if config.output else None
    )
    count, dimensions = embeddings.vectors.shape
    metric = opened.embedder.metric
    console.print(f"{count} embeddings of {dimensions} dimensions, compared by {metric}: {folder}", soft_wrap=True)
    if config.store is not None:
        path = write_store(config.store, VectorTable(embeddings, manifest, metric), folder)
        console.print(f"Table of id, label, path and vector: {path}", soft_wrap=True, highlight=False)
