"""conspecific suspects: find images whose label may be wrong."""

from conspecific.cli.table_and_page import print_places, table_and_page
from conspecific.cli.what_next import print_next
from conspecific.config.schema import SuspectsConfig
from conspecific.evaluation.suspects import COLUMNS, suspect_labels
from conspecific.files import write_text
from conspecific.reporting.page.wording import plural
from conspecific.reporting.suspects.page import write_suspects
from conspecific.runs.open import open_run
from conspecific.runs.reference import embed_untrained
from conspecific.tables import PlainConsole, csv_text, plain_table

SHOWN = 10  # on the terminal


def run(config: SuspectsConfig) -> None:
    """Write a table of all suspect images and a page of the first ones, and print the very first."""
    console, opened = PlainConsole(), open_run(config)
    file, page = table_and_page(opened, config.output, "suspects", "suspects", COLUMNS)
    manifest, embeddings = embed_untrained(opened, console)
    table = suspect_labels(embeddings, manifest)
    write_text(file, csv_text(table))
    write_suspects(page, table, manifest, config.most, file.name)
    shown = plain_table("The most suspect labels", ["image", "label", "looks like", "evidence"])
    for row in table.head(SHOWN).iter_rows(named=True):
        shown.add_row(row["path"], row["label"], row["suggested"], f"{row['evidence']:.3f}")
    if table.height:
        console.print(shown, "")
    found = f"{plural(table.height, 'image')} of {len(manifest):,} look more like another species than like their own."
    console.print(found, highlight=False, soft_wrap=True)
    print_places(console, file, page)
    if table.height and config.data is None and config.run is not None:
        print_next(console, "review", config.run)
