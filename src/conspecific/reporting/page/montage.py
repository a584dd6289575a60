"""Images made of images: a target's ten answers, two such sheets side by side, a contact sheet."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS, ROWS, ANSWERS = 4, 3, 10
TARGET_PLACE, LEGEND_PLACE = 10, 11

PAPER, INK, QUIET, LINE, EMPTY = "#ffffff", "#1c2321", "#5d6764", "#c9d0cd", "#f2f5f4"
HIT, MISS = "#0f766e", "#b3431e"

Box = tuple[int, int, int, int]


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans from matplotlib's own files, so that text looks the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def square(image: Image.Image, side: int) -> Image.Image:
    """Return the centre of the image as a square RGB image, the part the network looks at."""
    return ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def image_box(place: int, cell: int = 160) -> Box:
    """Return (left, top, right, bottom) of the image at a place of the answer sheet.

    Places count from 0, row by row: 0 to 9 are the answers, nearest first, 10 is the target, 11 the legend.
    """
    row, column = divmod(place, COLUMNS)
    gap, strip = _gap(cell), _strip(cell)
    left = gap + column * (cell + gap)
    top = gap + row * (cell + strip + gap)
    return left, top, left + cell, top + cell


def answer_sheet(
    target: Image.Image,
    answers: Sequence[Image.Image],
    hits: Sequence[bool | None],
    *,
    captions: Sequence[str] = (),
    target_caption: str = "",
    scores: Sequence[float] = (),
    cell: int = 160,
) -> Image.Image:
    """Return the target and its answers in the layout the project began with.

         1  2  3  4
         5  6  7  8
         9 10  T        T the target, 1 the nearest

    answers: nearest first; more than ten are cut off, fewer leave empty places.
    hits: one for each answer: True same species, False another, None not known (no mark).
    captions, scores: one for each answer, or none at all.
    """
    for name, given in (("hits", hits), ("captions", captions or answers), ("scores", scores or answers)):
        if len(given) != len(answers):
            raise ValueError(f"{name} must be one for each of the {len(answers)} answers; found {len(given)}")
    right, bottom = image_box(LEGEND_PLACE, cell)[2:]
    sheet = Image.new("RGB", (right + _gap(cell), bottom + _strip(cell) + _gap(cell)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place in range(ANSWERS):
        box = image_box(place, cell)
        if place >= len(answers):
            draw.rectangle(box, fill=EMPTY)
            continue
        sheet.paste(square(answers[place], cell), box[:2])
        _mark(draw, box, hits[place])
        _badge(draw, box[:2], str(place + 1), INK, cell)
        _caption(draw, box, captions[place] if captions else "", f"{scores[place]:.3f}" if scores else "")
    box = image_box(TARGET_PLACE, cell)
    sheet.paste(square(target, cell), box[:2])
    draw.rectangle(box, outline=INK, width=_border(cell))
    _badge(draw, box[:2], "Target", INK, cell)
    _caption(draw, box, target_caption, "")
    _legend(draw, image_box(LEGEND_PLACE, cell), any(hit is not None for hit in hits))
    return sheet


def side_by_side(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Return two images beside each other under their titles, with a rule between them."""
    font = _font(max(14, min(left.height, right.height) // 26), bold=True)
    head, gap = round(font.size * 2.4), round(font.size * 1.2)
    width, height = left.width + gap + right.width, head + max(left.height, right.height)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    indent = round(font.size * 0.55)
    for image, title, start in ((left, titles[0], 0), (right, titles[1], left.width + gap)):
        sheet.paste(image.convert("RGB"), (start, head))
        text = _shorten(title, font, image.width - 2 * indent)
        draw.text((start + indent, head - indent // 2), text, INK, font, anchor="ls")
    middle = left.width + gap // 2
    draw.line((middle, indent, middle, height - indent), fill=LINE, width=1)
    return sheet


def contact_sheet(rows: Sequence[Sequence[Image.Image]], labels: Sequence[str], cell: int = 112) -> Image.Image:
    """Return rows of square images, each row under one label at its left. Rows may differ in length."""
    if len(rows) != len(labels) or not rows:
        raise ValueError(f"a contact sheet needs one label for each row; found {len(rows)} rows, {len(labels)} labels")
    font, gap = _font(max(11, cell // 8)), max(4, cell // 16)
    margin = min(2 * cell, max(round(font.getlength(label)) for label in labels)) + 3 * gap
    longest = max(len(row) for row in rows)
    sheet = Image.new("RGB", (margin + longest * (cell + gap), gap + len(rows) * (cell + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = gap + number * (cell + gap)
        draw.text((margin - 2 * gap, top + cell // 2), _shorten(label, font, 2 * cell), INK, font, anchor="rm")
        for column, image in enumerate(row):
            sheet.paste(square(image, cell), (margin + column * (cell + gap), top))
    return sheet


def _gap(cell: int) -> int:
    return max(6, cell // 14)


def _strip(cell: int) -> int:
    return max(16, cell // 7)


def _border(cell: int) -> int:
    return max(3, cell // 40)


def _mark(draw: ImageDraw.ImageDraw, box: Box, hit: bool | None) -> None:
    """Border and sign: a full line and a tick for a hit, a broken line and a cross for a miss."""
    cell = box[2] - box[0]
    if hit is None:
        draw.rectangle(box, outline=LINE, width=1)
    elif hit:
        draw.rectangle(box, outline=HIT, width=_border(cell))
        _badge(draw, (box[2] - _badge_side(cell), box[1]), "✓", HIT, cell)
    else:
        _broken_border(draw, box, MISS, _border(cell))
        _badge(draw, (box[2] - _badge_side(cell), box[1]), "✗", MISS, cell)


def _broken_border(draw: ImageDraw.ImageDraw, box: Box, colour: str, width: int) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, outline=PAPER, width=width)
    dash = 3 * width
    for start in range(0, right - left, 2 * dash):
        for edge in (top, bottom - width + 1):
            draw.rectangle((left + start, edge, min(left + start + dash, right), edge + width - 1), fill=colour)
        for edge in (left, right - width + 1):
            draw.rectangle((edge, top + start, edge + width - 1, min(top + start + dash, bottom)), fill=colour)


def _badge_side(cell: int) -> int:
    return max(15, cell // 7)


def _badge(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: str, cell: int) -> None:
    side, font = _badge_side(cell), _font(max(10, cell // 12), bold=True)
    width = max(side, round(font.getlength(text)) + side // 2)
    left, top = corner
    draw.rectangle((left, top, left + width, top + side), fill=colour)
    draw.text((left + width / 2, top + side / 2), text, PAPER, font, anchor="mm")


def _caption(draw: ImageDraw.ImageDraw, box: Box, text: str, score: str) -> None:
    cell = box[2] - box[0]
    font, middle = _font(max(9, cell // 13)), box[3] + _strip(cell) // 2 + 1
    room = cell - (round(font.getlength(score)) + 6 if score else 0)
    draw.text((box[0], middle), _shorten(text, font, room), INK, font, anchor="lm")
    draw.text((box[2], middle), score, QUIET, font, anchor="rm")


def _legend(draw: ImageDraw.ImageDraw, box: Box, marks: bool) -> None:
    cell = box[2] - box[0]
    font = _font(max(9, cell // 13))
    lines = [("✓", "same species", HIT), ("✗", "another species", MISS)] if marks else []
    lines.append(("1", "is the nearest", INK))
    for number, (sign, text, colour) in enumerate(lines):
        middle = box[1] + round(font.size * (1 + 1.9 * number))
        draw.text((box[0] + font.size * 0.6, middle), sign, colour, _font(round(font.size), bold=True), anchor="mm")
        draw.text((box[0] + font.size * 1.6, middle), text, QUIET, font, anchor="lm")


def _shorten(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """Return the text, its end cut off behind an ellipsis where it is wider than the room."""
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"
