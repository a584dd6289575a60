"""One learning curve of a plot of several runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """The curve of one run. role: best or whole, among others. points: in SVG syntax. end: x and y of its dot."""

    role: str
    points: str
    end: tuple[float, float]
    title: str
