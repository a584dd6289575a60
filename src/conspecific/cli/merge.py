"""conspecific merge: join the parts of embeddings that several processes made."""

from pathlib import Path

from conspecific.config.schema import MergeConfig
from conspecific.errors import ConfigError
from conspecific.evaluation.parts import merge_parts
from conspecific.tables import PlainConsole


def run(config: MergeConfig) -> None:
    """Verify and join the parts, and print what there is."""
    if config.output is None:
        raise ConfigError("name the folder that the parts were made for: conspecific merge OUT")
    output = Path(config.output).expanduser()
    count, dimensions = merge_parts(output)
    PlainConsole().print(f"{count} embeddings of {dimensions} dimensions: {output}", soft_wrap=True, highlight=False)
