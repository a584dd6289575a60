"""Species and files of any name: every command shows them as what they are, and ends well."""

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import polars as pl
from PIL import Image

from conspecific.runs.directory import RunDirectory

NAMES = ["[", "[red]", "$\\frac{", "=1+1", "\x1b[2J", ":bird:", "{{7*7}}", "<b>", "\u202egnp"]


def test_a_search_among_names_that_are_markup_formulas_and_control_characters(
    conspecific: Callable[..., CompletedProcess[str]], run: RunDirectory, here: Path
) -> None:
    copied = shutil.copytree(run.path, here / "run")  # the embeddings of other images are kept beside its own
    for number, name in enumerate(NAMES):
        (here / "odd" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (20 * number, 0, 0)).save(here / "odd" / name / f"{name}.png")
    query, data = here / "odd" / NAMES[4] / f"{NAMES[4]}.png", ["data=images", f"data.root={here / 'odd'}", "workers=0"]
    done = conspecific("search", copied, query, *data)
    assert (done.returncode, done.stderr) == (0, "")
    for name in NAMES:
        shown = name.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
        assert f"{shown}/{shown}.png" in done.stdout
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert (here / f"search_{NAMES[4]}.png").is_file()
    assert conspecific("search", copied, query, *data, "output=answers.csv").returncode == 0
    table = pl.read_csv(here / "answers.csv")
    assert {"'=1+1", *NAMES} - {"=1+1"} == set(table["species"])
    done = conspecific("search", copied, "\udcff\x1b[2J.jpg")
    assert done.stderr.startswith(r"error: \udcff\x1b[2J.jpg cannot be read as an image")
