"""Flower heads: petals around a heart, seen from above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .arrays import Floats, at_points, blend, blurred, cloud_tile, ease, from_image, pebble_tiles, to_image

FORMS = {
    # Petals in a ring, their half width as a share of their length, rings, how blunt their tips are.
    "daisy": ((13, 22), 0.13, 2, 5.0),
    "cosmos": ((7, 9), 0.33, 1, 9.0),
    "mallow": ((5, 6), 0.5, 1, 6.0),
    "aster": ((18, 28), 0.075, 2, 3.0),
    "dahlia": ((9, 13), 0.24, 3, 2.5),
}


def bloom(source: np.random.Generator, ground: Floats, colours: list[Floats], reach: float) -> Floats:
    """An image [size, size, 3] with a flower over it: colours of petal, tip and heart, petals `reach` pixels long."""
    size = len(ground)
    centre, squash = source.uniform(0.25, 0.75, 2) * size, source.uniform(0.7, 1)
    counts, breadth, rings, blunt = FORMS[str(source.choice(list(FORMS)))]
    head, shape = Image.new("L", (2 * size, 2 * size)), Image.new("L", (2 * size, 2 * size))
    count, start = int(source.integers(*counts)), source.uniform(0, 2 * np.pi)
    for ring in range(rings):
        for index in source.permutation(count):
            turn = start + 2 * np.pi * (index + ring / 2) / count + source.normal(0, 0.04)
            length = 2 * reach * (1 - 0.2 * ring) * source.uniform(0.93, 1.05)
            _petal(head, shape, turn, length, breadth, blunt, squash, 2 * centre, source.uniform(0.72, 1.0))
    tone, cover = from_image(blurred(head, 0.008 * size).reduce(2)), from_image(shape.reduce(2))
    line = np.arange(size, dtype=np.float32)
    x, y = line[None, :] - np.float32(centre[0]), (line[:, None] - np.float32(centre[1])) / np.float32(squash)
    out, turned = np.hypot(x, y) / np.float32(reach), np.arctan2(y, x)
    streak = at_points(cloud_tile(0.8), np.abs(turned) * 90, out * 14)
    hue = blend(colours[0], colours[1], np.clip(1.2 * out - 0.25, 0, 1)[..., None])
    light = 0.25 + 0.95 * tone + 0.035 * streak
    light *= 0.72 + 0.28 * ease(out, 0.15, 0.55)
    image = blend(
        ground * (1 - 0.35 * from_image(blurred(to_image(cover), 0.03 * size)))[..., None],
        hue * light[..., None],
        cover[..., None],
    )
    return _heart(image, x, y, out, colours[2], 0.13 if breadth > 0.2 else 0.24)


def _petal(
    head: Image.Image,
    shape: Image.Image,
    turn: float,
    length: float,
    breadth: float,
    blunt: float,
    squash: float,
    centre: NDArray[np.float64],
    tone: float,
) -> None:
    """One petal as nested outlines, brighter towards its middle line."""
    step = np.linspace(0, 1, 14)
    half = length * breadth * step**0.75 * np.sqrt(1 - step**blunt)
    for width, light in ((1.0, 0.66), (0.86, 0.84), (0.6, 0.95), (0.3, 1.0)):
        along, across = np.r_[step, step[::-1]] * length * (1 - 0.03 * (1 - width)), np.r_[half, -half[::-1]] * width
        x = along * np.cos(turn) - across * np.sin(turn) + centre[0]
        y = (along * np.sin(turn) + across * np.cos(turn)) * squash + centre[1]
        outline = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        ImageDraw.Draw(head).polygon(outline, fill=int(220 * light * tone))
        if width == 1.0:
            ImageDraw.Draw(shape).polygon(outline, fill=255)


def _heart(image: Floats, x: Floats, y: Floats, out: Floats, hue: Floats, radius: float) -> Floats:
    """The flower's heart: a dome of small florets."""
    florets = at_points(pebble_tiles()[0], y * 5 + 256 + 0 * x, x * 5 + 256 + 0 * y)
    dome = np.sqrt(np.clip(1 - (out / radius) ** 2, 0, 1))
    tone = (0.5 + 0.35 * dome + 0.4 * ease(florets, 0, 0.5))[..., None]
    return blend(image, hue * tone, ease(radius - out + 0.06 * (florets - 0.4), -0.01, 0.02)[..., None])
