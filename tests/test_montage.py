"""The places and marks of the images on the answer sheets."""

import pytest
from PIL import Image

from conspecific.montage import HIT, MISS, answer_sheet, image_box, side_by_side

COLORS = [(20 * number + 10, 200 - 15 * number, 90) for number in range(10)]
QUERY = (250, 240, 30)


def tile(color: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (60, 40), color)


def hexadecimal(color: object) -> str:
    assert isinstance(color, tuple)
    return "#{:02x}{:02x}{:02x}".format(*color)


def centre(place: int, cell: int = 160) -> tuple[int, int]:
    left, top, right, bottom = image_box(place, cell)
    return (left + right) // 2, (top + bottom) // 2


def sheet(hits: list[bool | None], cell: int = 160) -> Image.Image:
    return answer_sheet(tile(QUERY), [tile(color) for color in COLORS[: len(hits)]], hits, cell=cell)


@pytest.mark.parametrize("cell", [64, 160])
def test_answers_are_placed_row_by_row_and_the_query_after_them(cell: int) -> None:
    image = sheet([True] * 10, cell)
    for place, color in enumerate(COLORS):
        assert image.getpixel(centre(place, cell)) == color
    assert image.getpixel(centre(10, cell)) == QUERY
    rows = [image_box(place)[1] for place in range(12)]
    columns = [image_box(place)[0] for place in range(12)]
    assert rows[:4] == [rows[0]] * 4 and rows[4:8] == [rows[4]] * 4 and rows[8:] == [rows[8]] * 4
    assert columns[:4] == columns[4:8] == columns[8:] == sorted(columns[:4])


def test_a_hit_has_a_solid_border_a_miss_a_dashed_one_and_an_unknown_none() -> None:
    image = sheet([True, False, None])
    edges = []
    for place in range(3):
        left, top, _, bottom = image_box(place)
        edges.append([hexadecimal(image.getpixel((left + 1, y))) for y in range(top + 30, bottom - 4)])
    assert set(edges[0]) == {HIT}
    assert MISS in edges[1] and "#ffffff" in edges[1] and HIT not in edges[1]
    assert HIT not in edges[2] and MISS not in edges[2]


def test_fewer_than_ten_answers_leave_empty_places_and_more_are_cut_off() -> None:
    assert hexadecimal(sheet([True] * 3).getpixel(centre(5))) == "#f2f5f4"
    eleven = answer_sheet(tile(QUERY), [tile(COLORS[0])] * 11, [True] * 11)
    assert eleven.getpixel(centre(10)) == QUERY


@pytest.mark.parametrize(("places", "columns", "rows"), [(1, 3, 1), (2, 4, 1), (3, 4, 2), (10, 4, 3), (12, 5, 3)])
def test_a_sheet_has_places_for_as_many_as_asked(places: int, columns: int, rows: int) -> None:
    image = answer_sheet(tile(QUERY), [tile(COLORS[0])] * 12, [None] * 12, places=places)
    left, top, right, bottom = image_box(places, answers=places)
    assert image.getpixel(((left + right) // 2, (top + bottom) // 2)) == QUERY
    left, top, right, bottom = image_box(places - 1, answers=places)
    assert image.getpixel(((left + right) // 2, (top + bottom) // 2)) == COLORS[0]
    assert (round(image.width / 171), round(image.height / 193)) == (columns, rows)


def test_captions_and_scores_of_any_length_stay_in_their_places() -> None:
    answers = [tile(COLORS[0])] * 10
    names = ["Éclatant " * 30] * 10
    with_text = answer_sheet(tile(QUERY), answers, [None] * 10, captions=names, scores=[-123.456] * 10)
    plain = answer_sheet(tile(QUERY), answers, [None] * 10)
    assert with_text.size == plain.size
    for place in range(4):
        _, top, right, bottom = image_box(place)
        gap = (right + 1, top, right + 6, bottom + 30)
        assert with_text.crop(gap).tobytes() == plain.crop(gap).tobytes()


@pytest.mark.parametrize("given", [{"hits": [True]}, {"captions": ["one"]}, {"scores": [0.5]}])
def test_lists_of_different_lengths_are_refused(given: dict[str, list[object]]) -> None:
    arguments: dict[str, list[object]] = {"hits": [True] * 10, **given}
    with pytest.raises(ValueError, match="one entry for each of the 10 answers; found 1"):
        answer_sheet(tile(QUERY), [tile(COLORS[0])] * 10, **arguments)  # type: ignore[arg-type]


def test_side_by_side_keeps_both_images_whole_and_in_order() -> None:
    left, right = Image.new("RGB", (300, 200), "#ff0000"), Image.new("RGB", (200, 100), "#0000ff")
    image = side_by_side(left, right, ("Baseline", "Fine-tuned"))
    counts = {color: count for count, color in image.getcolors(maxcolors=10_000) or []}
    assert counts[(255, 0, 0)] == 300 * 200
    assert counts[(0, 0, 255)] == 200 * 100
    assert hexadecimal(image.getpixel((10, image.height - 10))) == "#ff0000"
