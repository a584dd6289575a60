"""conspecific embed: write the embeddings of any folder of images."""

from pathlib import Path

from rich.console import Console

from conspecific.config.schema import EmbedConfig
from conspecific.runs.open import open_run


def run(config: EmbedConfig) -> None:
    """Embed every image and write vectors.npy, images.parquet and facts.json."""
    console = Console(markup=False)
    opened = open_run(config)
    folder, _, embeddings = opened.embed_all(console, Path(config.output).expanduser() if config.output else None)
    count, dimensions = embeddings.vectors.shape
    metric = opened.embedder.metric
    console.print(f"{count} embeddings of {dimensions} dimensions, compared by {metric}: {folder}", soft_wrap=True)
