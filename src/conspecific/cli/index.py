"""conspecific index: make a searchable index of a gallery, and keep it up to date."""

from rich.console import Console

from conspecific.config.schema import IndexConfig
from conspecific.index import Index
from conspecific.runs.gallery import Changes, make_index, refresh_index
from conspecific.runs.open import open_run


def run(config: IndexConfig) -> None:
    """Make the index, or with refresh=true bring it up to date, and print what it takes."""
    console = Console(markup=False)
    if config.refresh:
        folder, index, changes = refresh_index(config, console)
        console.print(_told(changes, len(index)), soft_wrap=True, highlight=False)
    else:
        folder, index = make_index(open_run(config), console)
    console.print(f"{_described(index)}\nIndex: {folder}", soft_wrap=True, highlight=False)


def _described(index: Index) -> str:
    size = f"{index.bytes_per_image:,.0f} bytes an image"
    return f"{len(index):,} images, {index.stored.dimensions} dimensions, {index.kind}, {size}"


def _told(changes: Changes, images: int) -> str:
    counts = [(changes.new, "new"), (changes.changed, "changed"), (changes.gone, "gone")]
    counts.append((changes.relabelled, "of another species now"))
    found = ", ".join(f"{count:,} {what}" for count, what in counts)
    how = f" {changes.how}." if changes.how else ""
    return f"{found}: {changes.encoded:,} images encoded, {images - changes.encoded:,} not again.{how}"
