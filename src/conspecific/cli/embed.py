"""conspecific embed: write the embeddings of any folder of pictures."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from conspecific.cli.opened import open_run, read_config
from conspecific.config.schema import EmbedConfig


def run(arguments: Sequence[str]) -> None:
    """Embed every picture and write vectors.npy, pictures.parquet and facts.json."""
    config = read_config("embed", EmbedConfig, arguments, ["run"])
    console = Console()
    opened = open_run(config)
    default = opened.run.embeddings / f"all{opened.suffix}" if opened.run else Path("embeddings")
    folder = Path(config.output).expanduser() if config.output else default
    _, embeddings = opened.embed_all(folder, console)
    count, dimensions = embeddings.vectors.shape
    metric = opened.embedder.metric
    console.print(f"{count} embeddings of {dimensions} dimensions, compared by {metric}: {folder}", soft_wrap=True)
