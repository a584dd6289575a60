"""conspecific soup: average the weights of several runs into one model."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.console import Console

from conspecific.cli.what_next import print_next
from conspecific.config.schema import SoupConfig
from conspecific.runs.directory import make_new_folder
from conspecific.runs.soup import Soup, make_soup
from conspecific.tables import PlainConsole, plain_table


def run(config: SoupConfig, places: Sequence[str]) -> None:
    """Average the weights, score them on validation, and write a folder that can be opened like a run."""
    named = Path(config.output or f"{config.paths.runs}/soups/{datetime.now():%Y-%m-%d_%H-%M-%S}").expanduser()
    folder = named if config.output else make_new_folder(named)
    console = PlainConsole()
    try:
        _print(console, make_soup(places, folder, config, console))
    finally:
        if not config.output:
            with suppress(OSError):  # not empty: the soup is in it
                for empty in (folder, folder.parent, folder.parent.parent):
                    empty.rmdir()


def _print(console: Console, soup: Soup) -> None:
    """Print the score of each run and of the soup with it, then that of the whole soup and of the best run."""
    table = plain_table(
        f"Ingredients, validation {soup.metric}", ["run", "alone", *(["soup with it", "kept"] if soup.greedy else [])]
    )
    for each in soup.ingredients:
        more = [f"{each.soup_with_it:.4f}", "yes" if each.kept else "no"] if soup.greedy else []
        table.add_row(each.run, f"{each.validation:.4f}", *more)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    console.print(table, "")
    best, kept = soup.ingredients[0].validation, sum(each.kept for each in soup.ingredients)
    style = "yellow" if soup.score < best else None
    text = f"Soup of {kept}: validation {soup.metric} {soup.score:.4f}; the best run alone {best:.4f}"
    if soup.score < best and not soup.greedy:
        text += ". greedy=true keeps only runs that do not lower it"
    console.print(f"{text}.", style=style, soft_wrap=True, highlight=False)
    console.print(f"Soup: {soup.folder}", soft_wrap=True, highlight=False)
    print_next(console, "evaluate", soup.folder)
