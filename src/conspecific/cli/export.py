"""conspecific export: write the network of a run for other programs."""

from conspecific.config.schema import ExportConfig
from conspecific.exporting import export_run
from conspecific.tables import PlainConsole


def run(config: ExportConfig) -> None:
    """Write the folder, and print how near it comes to torch."""
    console = PlainConsole()
    found = export_run(config, console)
    console.print(f"Agreement: {found.parity}", soft_wrap=True, highlight=False)
    if found.int8 is not None:
        console.print(f"Cost of int8: {found.int8}", soft_wrap=True, highlight=False)
    console.print(f"Export, {found.bytes / 1e6:.1f} MB: {found.folder}", soft_wrap=True, highlight=False)
