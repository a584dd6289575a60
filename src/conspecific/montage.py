"""Images made of images: a query with its nearest images, and two such sheets side by side."""

import importlib.util
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from conspecific.errors import visible

ANSWERS = 10
WIDEST = 4  # columns of a sheet of up to ten answers; larger ones are about as wide as high

PAPER, INK, QUIET, LINE, EMPTY = "#ffffff", "#1c2321", "#5d6764", "#c9d0cd", "#f2f5f4"
HIT, MISS = "#0f766e", "#b3431e"
DIMMED = 0.35  # brightness of regions that match nothing

Box = tuple[int, int, int, int]


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans from matplotlib's files: the same font on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    found = importlib.util.find_spec("matplotlib")  # found and not imported, which takes as long as a search
    assert found is not None and found.origin is not None, "matplotlib is a dependency"
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name, size)


def square(image: Image.Image, side: int) -> Image.Image:
    """Return the center crop of the image as a square RGB image."""
    return ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def image_box(place: int, cell: int = 160, answers: int = ANSWERS) -> Box:
    """Return (left, top, right, bottom) in pixels of the image at a place of the answer sheet.

    Places are numbered from 0, row by row: first the answers, the nearest first, then the query, then the legend.
    answers: how many the sheet has places for.
    """
    row, column = divmod(place, _columns(answers))
    gap, strip = _gap(cell), _strip(cell)
    left = gap + column * (cell + gap)
    top = gap + row * (cell + strip + gap)
    return left, top, left + cell, top + cell


def answer_sheet(
    query: Image.Image,
    answers: Sequence[Image.Image],
    hits: Sequence[bool | None],
    *,
    captions: Sequence[str] = (),
    query_caption: str = "",
    scores: Sequence[float] = (),
    places: int = ANSWERS,
    cell: int = 160,
) -> Image.Image:
    """Return a query and its nearest images as one image; ten have the layout

         1  2  3  4
         5  6  7  8
         9 10  Q        Q the query, 1 the nearest image

    answers: nearest first. places: how many are shown; missing ones leave their places empty.
    hits: one for each answer: True for the query's species, False for another, None for an unknown species (no mark).
    captions, scores: one for each answer, or none. cell: side of each image in pixels.
    Raises ValueError where hits, captions or scores have another length than answers.
    """
    for name, given in (("hits", hits), ("captions", captions or answers), ("scores", scores or answers)):
        if len(given) != len(answers):
            raise ValueError(f"{name} must have one entry for each of the {len(answers)} answers; found {len(given)}")
    right = image_box(_columns(places) - 1, cell, places)[2]
    bottom = image_box(places + 1, cell, places)[3]
    sheet = Image.new("RGB", (right + _gap(cell), bottom + _strip(cell) + _gap(cell)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place in range(places):
        box = image_box(place, cell, places)
        if place >= len(answers):
            draw.rectangle(box, fill=EMPTY)
            continue
        sheet.paste(square(answers[place], cell), box[:2])
        _mark(draw, box, hits[place])
        _badge(draw, box[:2], str(place + 1), INK, cell)
        _caption(draw, box, captions[place] if captions else "", f"{scores[place]:.3f}" if scores else "")
    box = image_box(places, cell, places)
    sheet.paste(square(query, cell), box[:2])
    draw.rectangle(box, outline=INK, width=_border(cell))
    _badge(draw, box[:2], "Query", INK, cell)
    _caption(draw, box, query_caption, "")
    _legend(draw, image_box(places + 1, cell, places), any(hit is not None for hit in hits))
    return sheet


def side_by_side(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Return two images next to each other under their titles, with a line between them."""
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


def matching_regions(
    images: tuple[Image.Image, Image.Image],
    strengths: tuple[NDArray[np.float32], NDArray[np.float32]],
    matches: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    titles: tuple[str, str],
) -> Image.Image:
    """Return two square images of one size side by side, of which the regions that match keep their colours.

    strengths: [h, w] in [0, 1] of each image, how much each cell matches. matches: (row, column) in the first image
    and in the second, numbered from 1 in both.
    """
    shown = [_lit(image, strength) for image, strength in zip(images, strengths, strict=True)]
    for number, match in enumerate(matches, 1):
        for image, strength, (row, column) in zip(shown, strengths, match, strict=True):
            height, width = strength.shape
            middle = (column + 0.5) * image.width / width, (row + 0.5) * image.height / height
            _numbered(ImageDraw.Draw(image), middle, str(number), image.width)
    return side_by_side(shown[0], shown[1], titles)


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures one below another."""
    sheet = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _lit(image: Image.Image, strength: NDArray[np.float32]) -> Image.Image:
    """Return an image that is grey and dark where `strength` is 0, and as it was where it is 1."""
    levels = Image.fromarray(np.round(255 * np.sqrt(strength)).astype(np.uint8))
    mask = levels.resize(image.size, Image.Resampling.BICUBIC)
    dark = ImageOps.grayscale(image).point([round(DIMMED * level) for level in range(256)])
    return Image.composite(image, dark.convert("RGB"), mask)


def _numbered(draw: ImageDraw.ImageDraw, middle: tuple[float, float], text: str, side: int) -> None:
    radius, (x, y) = max(8, side // 28), middle
    box = x - radius, y - radius, x + radius, y + radius
    draw.ellipse(box, fill=HIT, outline=PAPER, width=max(1, radius // 7))
    draw.text(middle, text, PAPER, _font(round(1.2 * radius), bold=True), anchor="mm")


def _columns(answers: int) -> int:
    """Return the number of columns of a sheet with the query and the legend after its answers."""
    return min(WIDEST, answers + 2) if answers <= ANSWERS else math.ceil(math.sqrt(1.3 * (answers + 2)))


def _gap(cell: int) -> int:
    return max(6, cell // 14)


def _strip(cell: int) -> int:
    return max(16, cell // 7)


def _border(cell: int) -> int:
    return max(3, cell // 40)


def _mark(draw: ImageDraw.ImageDraw, box: Box, hit: bool | None) -> None:
    """Draw a solid border and a tick for a hit, a dashed border and a cross for a miss."""
    cell = box[2] - box[0]
    if hit is None:
        draw.rectangle(box, outline=LINE, width=1)
    elif hit:
        draw.rectangle(box, outline=HIT, width=_border(cell))
        _badge(draw, (box[2] - _badge_side(cell), box[1]), "✓", HIT, cell)
    else:
        _dashed_border(draw, box, MISS, _border(cell))
        _badge(draw, (box[2] - _badge_side(cell), box[1]), "✗", MISS, cell)


def _dashed_border(draw: ImageDraw.ImageDraw, box: Box, color: str, width: int) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, outline=PAPER, width=width)
    dash = 3 * width
    for start in range(0, right - left, 2 * dash):
        for edge in (top, bottom - width + 1):
            draw.rectangle((left + start, edge, min(left + start + dash, right), edge + width - 1), fill=color)
        for edge in (left, right - width + 1):
            draw.rectangle((edge, top + start, edge + width - 1, min(top + start + dash, bottom)), fill=color)


def _badge_side(cell: int) -> int:
    return max(15, cell // 7)


def _badge(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, color: str, cell: int) -> None:
    side, font = _badge_side(cell), _font(max(10, cell // 12), bold=True)
    width = max(side, round(font.getlength(text)) + side // 2)
    left, top = corner
    draw.rectangle((left, top, left + width, top + side), fill=color)
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
    lines.append(("1", "nearest image", INK))
    for number, (sign, text, color) in enumerate(lines):
        middle = box[1] + round(font.size * (1 + 1.9 * number))
        draw.text((box[0] + font.size * 0.6, middle), sign, color, _font(round(font.size), bold=True), anchor="mm")
        draw.text((box[0] + font.size * 1.6, middle), text, QUIET, font, anchor="lm")


def _shorten(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """Return the text, shortened with an ellipsis where it is wider than `room` pixels."""
    text = visible(" ".join(text.split()))
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"
