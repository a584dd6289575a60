"""conspecific suspects: find images whose label may be wrong."""

from pathlib import Path

from conspecific.config.schema import SuspectsConfig
from conspecific.evaluation.suspects import COLUMNS, suspect_labels
from conspecific.files import refuse_other_file, write_text
from conspecific.reporting.page.section import is_page
from conspecific.reporting.page.wording import plural
from conspecific.reporting.suspects.page import write_suspects
from conspecific.runs.open import open_run
from conspecific.runs.reference import embed_untrained
from conspecific.tables import PlainConsole, csv_text, is_table_of, plain_table

SHOWN = 10  # on the terminal


def run(config: SuspectsConfig) -> None:
    """Write a table of all suspect images and a page of the first ones, and print the very first."""
    console, opened = PlainConsole(), open_run(config)
    place = opened.run.path if opened.run is not None else Path.cwd()
    file = Path(config.output).expanduser() if config.output else place / "suspects.csv"
    page = file.with_suffix(".html")
    refuse_other_file(file, "suspects", lambda each: is_table_of(each, COLUMNS))
    refuse_other_file(page, "suspects", lambda each: is_page(each, "suspects"))
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
    console.print(f"Table: {file.resolve()}", highlight=False, soft_wrap=True)
    console.print(f"Page: {page.resolve()}", highlight=False, soft_wrap=True)
