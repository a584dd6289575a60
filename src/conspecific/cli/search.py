"""conspecific search: the images nearest to an image, or to each of several."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from conspecific.config.schema import SearchConfig
from conspecific.errors import ConfigError
from conspecific.evaluation.taxonomy import SURE
from conspecific.files import refuse_other_file
from conspecific.reporting.answers import (
    PICTURED,
    TABLES,
    found_images,
    is_answer,
    own_picture,
    save_picture,
    write_picture,
    write_table,
)
from conspecific.reporting.page.wording import species_name
from conspecific.runs.answers import Answers, find_queries
from conspecific.runs.search import find_answers
from conspecific.tables import PlainConsole, plain_table


def run(config: SearchConfig) -> None:
    """Print the nearest k of each query with species and scores, and write them as a table or, of one, a picture."""
    if not config.images:
        raise ConfigError("search needs an image: conspecific search RUN IMAGE")
    if config.k < 1:
        raise ConfigError(f"k must be 1 or more; found {config.k}")
    queries, output = find_queries(config.images), config.output and Path(config.output).expanduser()
    if output:
        _check_output(output, queries)
    console = PlainConsole()
    answers = find_answers(config, queries, console)
    if config.refine.name:
        console.print(f"Answers refined by {config.refine.name}: their scores are not those of a plain search.")
    for query in range(len(queries)):
        console.print(_table(answers, query))
        if answers.is_unknown(query):
            assert answers.threshold is not None, "without it, no query is unknown"
            told = answers.threshold.describe(answers.best_score(query))
            console.print(told, style="yellow", soft_wrap=True, highlight=False)
        if answers.sure:
            console.print(_rolled_up(answers, query), soft_wrap=True, highlight=False, markup=False)
        console.print()
    if output and output.suffix.lower() in TABLES:
        write_table(output, answers)
        console.print(f"Answers: {output}", soft_wrap=True, highlight=False)
    elif len(queries) == 1:
        file, mark = (output, "") if output else own_picture(Path(), queries[0], answers.encoder)
        write_picture(file, answers, 0, mark)
        shown = f" (the first {PICTURED})" if config.k > PICTURED else ""
        console.print(f"Image{shown}: {file}", soft_wrap=True, highlight=False)
    if config.why:
        _explain(config, answers, console)


def _explain(config: SearchConfig, answers: Answers, console: Console) -> None:
    """Write for each query a picture of the regions that it and its first answers agree in."""
    from conspecific.runs.why import explain, open_answering  # torch, which a search in an index does without

    opened = open_answering(config)
    for number, query in enumerate(answers.queries):
        named = query.with_name(f"{query.stem}_why{query.suffix}")
        file, mark = own_picture(Path(), named, answers.encoder)
        save_picture(file, explain(opened, answers, number), mark)
        console.print(f"Why: {file}", soft_wrap=True, highlight=False)


def _check_output(output: Path, queries: Sequence[Path]) -> None:
    """Raise ConfigError for a kind of file that cannot be written, and for one that search did not make."""
    kind = output.suffix.lower()
    if kind not in TABLES and kind not in Image.registered_extensions():
        raise ConfigError(f"output={output} must end in .csv, .json or a kind of image, such as .png")
    if kind not in TABLES and len(queries) > 1:
        raise ConfigError(f"output={output} shows the answers to one image; for {len(queries)}, give FILE.csv or .json")
    if not output.exists():
        return
    if any(query.exists() and output.samefile(query) for query in queries):
        raise ConfigError(f"output={output} is the image to search with, and would be overwritten: name another file")
    refuse_other_file(output, "search", is_answer)


def _rolled_up(answers: Answers, query: int) -> str:
    found = answers.rolled_up(query)
    if found is None:
        return "Not sure at any rank, by what was right on validation."
    rank, answer = found
    return f"Sure as {rank}: {species_name(answer)}, as {SURE:.0%} of such answers were right on validation."


def _table(answers: Answers, query: int) -> Table:
    title = f"Nearest to {answers.queries[query].name} of {len(answers.manifest):,} images"
    table = plain_table(title, ["rank", "species", "score", "image"])
    for column, justify in zip(table.columns, ("right", "left", "right", "left"), strict=True):
        column.justify, column.no_wrap, column.overflow = justify, False, "fold"  # type: ignore[assignment]
    for found in found_images(answers, query):
        table.add_row(str(found.rank), found.species, f"{found.score:.3f}", found.path)
    return table
