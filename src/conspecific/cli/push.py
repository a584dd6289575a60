"""conspecific push: upload an export to the Hugging Face hub."""

from conspecific.config.schema import PushConfig
from conspecific.exporting.push import push
from conspecific.tables import PlainConsole


def run(config: PushConfig) -> None:
    """Push, and print where it is and what its README still lacks."""
    console, found = PlainConsole(), push(config)
    if found.to_fill:
        fields = "1 field" if found.to_fill == 1 else f"{found.to_fill} fields"
        console.print(f"The README has {fields} to be filled in; license=NAME of export fills in one.", style="yellow")
    visible = "" if config.update else f", visible for {'you' if config.private else 'everybody'}"
    console.print(
        f"Pushed {found.files} files, {found.bytes / 1e6:.1f} MB{visible}: {found.url}", soft_wrap=True, highlight=False
    )
