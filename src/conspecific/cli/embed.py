"""conspecific embed: write the embeddings of any folder of images."""

from pathlib import Path

from rich.console import Console

from conspecific.config.schema import EmbedConfig
from conspecific.errors import ConfigError
from conspecific.evaluation.parts import Part
from conspecific.exporting.stores import VectorTable, require_store, write_store
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.shards import embed_part
from conspecific.tables import PlainConsole


def run(config: EmbedConfig) -> None:
    """Embed every image, write vectors.npy, images.parquet and facts.json, and a database where one is asked for.

    With `shard`, only a part of the images, into a folder beside that of `output`.
    """
    part = _part(config)
    if config.store is not None:
        require_store(config.store)  # before the work, not after
    console = PlainConsole()
    opened = open_run(config)
    if part is not None:
        _embed_part(opened, part, Path(config.output or "").expanduser(), console)
        return
    folder, manifest, embeddings = opened.embed_all(
        console, Path(config.output).expanduser() if config.output else None
    )
    count, dimensions = embeddings.vectors.shape
    metric = opened.embedder.metric
    console.print(f"{count} embeddings of {dimensions} dimensions, compared by {metric}: {folder}", soft_wrap=True)
    if config.store is not None:
        path = write_store(config.store, VectorTable(embeddings, manifest, metric), folder)
        console.print(f"Table of id, label, path and vector: {path}", soft_wrap=True, highlight=False)


def _part(config: EmbedConfig) -> Part | None:
    if config.shard is None:
        return None
    if config.output is None:
        raise ConfigError(f"shard={config.shard} needs the folder that all parts are for: output=FOLDER")
    if config.store is not None:
        raise ConfigError(f"store={config.store} is for all embeddings: leave it out with shard, and embed after merge")
    return Part.parse(config.shard)


def _embed_part(opened: OpenRun, part: Part, output: Path, console: Console) -> None:
    folder, images = embed_part(opened, part, output, console)
    console.print(f"Part {part.number} of {part.count}: {images} embeddings in {folder}", soft_wrap=True)
    console.print(f"Next, once all parts are there: conspecific merge {output}", soft_wrap=True, highlight=False)
