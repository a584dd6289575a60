"""Boxes of images: a path may end in one, and then names that part of the image.

The form is that of a media fragment (W3C Media Fragments URI 1.0), with a margin: `bird.jpg#xywh=120,80,300,200` in
pixels, `bird.jpg#xywh=percent:12.5,8,30,20&margin=0.1` in percent of width and height.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_NUMBER = r"(-?\d{1,9}(?:\.\d{1,9})?)"
_FRAGMENT = re.compile(rf"#xywh=(percent:)?{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}(?:&margin={_NUMBER})?$")
_START = "#xywh="
MOST_OUTSIDE = 0.01  # share of a side of the image that a box may overlap its edge by: detectors and people round


@dataclass(frozen=True, slots=True)
class Region:
    """A box of an image as it is shown, upright: x and y from its left and top edge, above 0 in width and height.

    shares: whether the numbers are shares of the image's width and height, else pixels. margin: share of the box's
    width and height that is added on each side.
    """

    x: float
    y: float
    width: float
    height: float
    shares: bool = False
    margin: float = 0.0

    @classmethod
    def of(cls, path: str) -> Self | None:
        """Return the box that a path ends in; None where it ends in none."""
        found = _FRAGMENT.search(path) if _START in path else None
        if found is None:
            return None
        shares = found[1] is not None
        x, y, width, height = (float(number) / (100 if shares else 1) for number in found.groups()[1:5])
        return cls(x, y, width, height, shares, float(found[6] or 0))

    @property
    def fragment(self) -> str:
        """The end of a path that names this box."""
        scale = 100 if self.shares else 1
        numbers = ",".join(_text(scale * number) for number in (self.x, self.y, self.width, self.height))
        margin = f"&margin={_text(self.margin)}" if self.margin else ""
        return f"{_START}{'percent:' if self.shares else ''}{numbers}{margin}"

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of what is cut out of an image of some width and height.

        That is the box with its margin, and its shorter side lengthened to the longer one, so that the central square
        of what is cut out, which networks see, holds all of it; less where the image has not the room.
        Raises ValueError for a box that is not in the image.
        """
        horizontal = self._inside(self.x, self.width, size[0], size)
        vertical = self._inside(self.y, self.height, size[1], size)
        side = max(high - low for low, high in (horizontal, vertical)) * (1 + 2 * self.margin)
        left, right = _around(horizontal, side, size[0])
        top, bottom = _around(vertical, side, size[1])
        return left, top, right, bottom

    def _inside(self, start: float, length: float, side: int, size: tuple[int, int]) -> tuple[float, float]:
        """Return where the box begins and ends along a side of the image, in pixels."""
        scale = side if self.shares else 1
        low, high = scale * start, scale * (start + length)
        tolerance = max(1.0, MOST_OUTSIDE * side)
        if not (length > 0 and low >= -tolerance and high <= side + tolerance and low < side and high > 0):
            box = self.fragment.removeprefix(_START)
            raise ValueError(f"its box {box} (x,y,width,height) is not inside its {size[0]} x {size[1]} pixels")
        return max(low, 0.0), min(high, float(side))


def file_of(path: str) -> str:
    """Return a path without the box that it may end in."""
    return path if Region.of(path) is None else path[: path.rindex(_START)]


def split_region(path: Path) -> tuple[Path, Region | None]:
    """Return the file of an image and the box that its path ends in, None where it is the whole image."""
    name = str(path)
    return Path(file_of(name)), Region.of(name)


def _text(number: float) -> str:
    """Return a number with up to six digits behind the point, never in exponential form."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _around(found: tuple[float, float], length: float, side: int) -> tuple[int, int]:
    """Return a stretch of whole pixels of some length around another, moved to be inside the image's side."""
    length = min(length, side)
    low = min(max(sum(found) / 2 - length / 2, 0.0), side - length)
    start = min(math.floor(low + 1e-6), side - 1)
    return start, max(min(math.ceil(low + length - 1e-6), side), start + 1)
