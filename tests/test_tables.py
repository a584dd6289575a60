"""Names are printed and written as what they are, whatever they hold."""

import io

import polars as pl
import pytest
from markupsafe import Markup
from PIL import Image

from conspecific.errors import visible
from conspecific.montage import answer_sheet
from conspecific.reporting.page.template import template
from conspecific.tables import PlainConsole, csv_text, plain_table

NAMES = {
    "[/]": "[/]",
    "wren [red]": "wren [red]",
    ":bird:": ":bird:",
    "\x1b[2Jwren": r"\x1b[2Jwren",
    "wren\x07\x9b2J": r"wren\x07\x9b2J",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\udcff.jpg": r"\udcff.jpg",
    "Käfer 甲": "Käfer 甲",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items(), ids=map(ascii, NAMES))
def test_a_name_is_printed_as_what_it_is(name: str, shown: str) -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, width=60, force_terminal=True, color_system=None)
    table = plain_table(name, [name])
    table.add_row(name)
    console.print(name, table)
    printed = screen.getvalue()
    assert printed.count(shown) == 4
    assert printed.encode() and set(printed) <= {*shown, *"\n ─"}


def test_a_page_shows_control_characters_and_escapes_markup() -> None:
    assert visible(Markup("<b>\x1b</b>")) == Markup(r"<b>\x1b</b>")
    assert isinstance(visible(Markup("\x1b")), Markup)
    line = template("run/page.html.j2").environment.from_string("{{ name }}")
    assert line.render(name="<b>\x1b[31m\u202e") == r"&lt;b&gt;\x1b[31m\u202e"


def test_a_picture_takes_any_name() -> None:
    picture = Image.new("RGB", (32, 32))
    sheet = answer_sheet(picture, [picture], [None], captions=["\udcff\n\x1b"], query_caption="a\nb\x1b[2J.jpg")
    assert sheet.size > (0, 0)


@pytest.mark.parametrize("name", ['=HYPERLINK("x")', "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_a_cell_of_a_csv_is_no_formula(name: str) -> None:
    table = pl.read_csv(io.StringIO(csv_text(pl.DataFrame({"species": [name, "wren"], "score": [-0.5, 1.0]}))))
    assert table.rows() == [(f"'{name}", -0.5), ("wren", 1.0)]


def test_nothing_is_coloured_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, coloured in ((None, True), ("1", False)):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if told:
            monkeypatch.setenv("NO_COLOR", told)
        printed = io.StringIO()
        PlainConsole(file=printed, force_terminal=True, color_system="standard").print("worse", style="red")
        assert ("\x1b[31m" in printed.getvalue()) == coloured
