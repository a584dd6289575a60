"""Backgrounds, from a blurred meadow to museum paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .arrays import (
    Floats,
    blend,
    blurred,
    cloud_tile,
    colour,
    ease,
    excerpt,
    from_image,
    pebble_tiles,
    shifted,
    to_image,
)
from .flowers import bloom

Source = np.random.Generator
MEADOWS = (
    "2f5a24 7fa23c d9d98a",
    "1f3d2b 4f7f4a b9cf8f",
    "5c6f2a b9a548 f3dc94",
    "24464a 5f9a86 cfe6cf",
    "3a2c4a 8a6a94 e9c3c0",
    "6b4a22 c08a3e f6d79a",
    "1c2a20 3c5a36 7f9a5c",
    "4a5c6a 9fb4b8 eef0e2",
)
BLOOMS = (
    "f7d23e e8902a 6b3b12",
    "f6f1f4 e9c8da e0b030",
    "c85a9a f0a8cf f6dc6a",
    "8a6fd0 c9b8f0 f3d35a",
    "d8402f f58a5a 2a1614",
    "f4a23a fbd27a 5a2c12",
    "6f9be0 c4dcfa f2e08a",
)
LEAVES = ("2f6b2a 6fae44", "3f7f3a 9cc860", "1f4f30 4f8f55", "6a7a28 b8bc54", "7a4a22 c88a3e", "44663a 8faa6a")


def draw_backdrop(source: Source, size: int) -> Floats:
    """Return a background [size, size, 3]."""
    kinds: list[tuple[float, Callable[[Source, int], Floats]]] = [
        (0.3, _bokeh),
        (0.14, _leaf),
        (0.16, _flower),
        (0.08, _bark),
        (0.08, _gravel),
        (0.08, _sky),
        (0.06, _paper),
        (0.08, _foliage),
    ]
    weights = np.array([weight for weight, _ in kinds])
    return kinds[source.choice(len(kinds), p=weights / weights.sum())][1](source, size)


def _pick(source: Source, choices: tuple[str, ...]) -> list[Floats]:
    texts = choices[source.integers(len(choices))].split()
    return [np.clip(colour(text) + source.normal(0, 0.025, 3), 0, 1).astype(np.float32) for text in texts]


def _grid(source: Source, size: int, turn: float) -> tuple[Floats, Floats]:
    """Coordinates [size, size] from -1 to 1 about a point near the middle, turned by an angle."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = line[None, :] - source.uniform(-0.3, 0.3), line[:, None] - source.uniform(-0.3, 0.3)
    return np.asarray(x * np.cos(turn) + y * np.sin(turn), np.float32), np.asarray(
        y * np.cos(turn) - x * np.sin(turn), np.float32
    )


def _wash(source: Source, size: int, colours: list[Floats], share: float = 0.4, roughness: float = 2.0) -> Floats:
    """A soft field between three colours that runs through the image and drifts with cloud noise."""
    x, _ = _grid(source, size, source.uniform(0, 2 * np.pi))
    mood = 0.5 + 0.35 * x + 0.17 * excerpt(cloud_tile(roughness), source, size, share)
    low = blend(colours[0], colours[1], ease(mood, 0.0, 0.55)[..., None])
    return blend(low, colours[2], ease(mood, 0.5, 1.15)[..., None])


def _bokeh(source: Source, size: int) -> Floats:
    """A meadow far out of focus: a wash of colour, stalks, discs of light, flower heads as blots."""
    colours = _pick(source, MEADOWS)
    image = to_image(_wash(source, size, colours))
    if source.random() < 0.5:
        _stalks(source, image, colours)
    blossoms = [blossom[0] for blossom in (_pick(source, BLOOMS), _pick(source, BLOOMS))]
    for blur, count, reach, strength in ((0.045, 14, 0.16, 150), (0.018, 14, 0.1, 120), (0.006, 12, 0.06, 90)):
        veil = Image.new("L", (size, size))
        tint = blend(colours[2], blossoms[source.integers(2)], source.uniform(0, 0.9))
        pen = ImageDraw.Draw(veil)
        for _ in range(source.integers(count // 2, count)):
            x, y = source.uniform(-0.1, 1.1, 2) * size
            radius = source.uniform(0.3, 1) * reach * size
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=int(source.uniform(30, strength)))
        image.paste(_plain(tint, size), mask=blurred(veil, blur * size))
    return from_image(image)


def _plain(hue: Floats, size: int) -> Image.Image:
    red, green, blue = (round(255 * min(1.0, max(0.0, float(part)))) for part in hue)
    return Image.new("RGB", (size, size), (red, green, blue))


def _stalks(source: Source, image: Image.Image, colours: list[Floats]) -> None:
    """Blurred stalks of grass, behind everything."""
    size = image.width
    for blur, tone in ((0.02, 0.3), (0.009, 0.75)):
        veil = Image.new("L", (size, size))
        pen = ImageDraw.Draw(veil)
        for _ in range(source.integers(3, 9)):
            foot, lean, top = source.uniform(-0.2, 1.2), source.uniform(-0.4, 0.4), source.uniform(-0.1, 0.6)
            step = np.linspace(0, 1, 8)
            x, y = (foot + lean * step**1.6) * size, (1.02 - (1.02 - top) * step) * size
            path = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
            pen.line(path, fill=int(source.uniform(90, 200)), width=max(1, round(source.uniform(0.012, 0.04) * size)))
        hue = blend(colours[0], colours[2], tone + source.uniform(-0.2, 0.2))
        image.paste(_plain(hue, size), mask=blurred(veil, blur * size))


def _foliage(source: Source, size: int) -> Floats:
    """Leaves and stalks in several layers; nearer layers are sharper."""
    colours = _pick(source, LEAVES)
    deep = [colours[0] * 0.35, colours[0] * 0.7, colours[1] * 0.8]
    image = to_image(_wash(source, size, deep))
    for depth in (0.03, 0.015, 0.006):
        for _ in range(4):
            veil = leaf_shape(
                source, size, (source.random() * size, source.random() * size), source.uniform(0.25, 0.6) * size
            )
            tone = blend(colours[0], colours[1], source.uniform(0, 1)) * (1.15 - 14 * depth)
            shade = _wash(source, size, [tone * 0.7, tone, tone * 1.2])
            image.paste(to_image(shade), mask=blurred(veil, depth * size))
    return from_image(image)


def leaf_shape(source: Source, size: int, at: tuple[float, float], length: float) -> Image.Image:
    """A mask of one pointed leaf, centred at `at` (pixels), in any direction."""
    step = np.linspace(0, 1, 16)
    half = np.sin(np.pi * step**0.8) * source.uniform(0.13, 0.26)
    bend = source.uniform(-0.3, 0.3) * step**2
    x, y = np.r_[step, step[::-1]] - 0.5, np.r_[half + bend, (bend - half)[::-1]]
    turn = source.uniform(0, 2 * np.pi)
    points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1) * length + at
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).polygon([(float(a), float(b)) for a, b in points], fill=255)
    return mask


def _leaf(source: Source, size: int) -> Floats:
    """One leaf that fills the image, with midrib and side veins."""
    colours = _pick(source, LEAVES)
    x, y = _grid(source, size, source.uniform(0, 2 * np.pi))
    away = np.abs(y + 0.12 * x * x)
    wobble = 0.08 * excerpt(cloud_tile(), source, size, 0.3)
    phase = (x - 0.75 * away + 0.25 * away**2) * source.uniform(2.2, 4.5) + wobble
    ridge = np.abs((phase % 1) - 0.5) * 2
    tone = 0.42 + 0.14 * excerpt(cloud_tile(), source, size, 0.35) + 0.24 * ridge
    tone = tone + 0.2 * np.sign(y) * source.uniform(-1, 1) + 0.16 * x
    image = blend(colours[0], colours[1], np.clip(tone, 0, 1)[..., None])
    pale = 0.7 * colours[1] + 0.3
    vein = np.maximum(0.4 * ease(ridge, 0.88, 1.0), ease(-away, -0.035, -0.008))
    image = blend(image, pale, (0.75 * vein)[..., None])
    mesh = excerpt(pebble_tiles()[0], source, size, 0.95)
    return np.asarray(image * (0.97 + 0.05 * ease(mesh, 0, 0.35))[..., None], np.float32)


def _flower(source: Source, size: int) -> Floats:
    """A flower head under the butterfly, perhaps another behind it, on a blurred wash."""
    colours = _pick(source, BLOOMS)
    image = _wash(source, size, _pick(source, MEADOWS))
    if source.random() < 0.4:
        behind = bloom(source, image, colours, source.uniform(0.15, 0.28) * size)
        image = from_image(blurred(to_image(behind), 0.015 * size))
    return bloom(source, image, colours, source.uniform(0.3, 0.55) * size)


def _bark(source: Source, size: int) -> Floats:
    """Bark: furrows along the trunk, lichen."""
    tone = colour(str(source.choice(["6b5443", "4d4038", "8a7866", "5f4630"])))
    grain = excerpt(cloud_tile(1.2), source, size, 0.5, source.uniform(0.2, 0.35))
    if source.random() < 0.6:
        grain = np.ascontiguousarray(grain.T)
    furrow = 1 - np.abs(grain)
    image = (
        tone * (0.78 + 0.28 * np.clip(furrow, -1.5, 1) + 0.1 * excerpt(cloud_tile(0.8), source, size, 0.4))[..., None]
    )
    lichen = ease(excerpt(cloud_tile(), source, size, 0.3), 0.7, 1.3) * source.uniform(0, 0.8)
    return blend(image, colour("a9b892") * (0.9 + 0.1 * grain)[..., None], lichen[..., None])


def _gravel(source: Source, size: int) -> Floats:
    """Pebbles in sand, lit from one side."""
    share, place = source.uniform(0.25, 0.7), source.integers(2**32)
    joint, centre, shade = (excerpt(tile, np.random.default_rng(place), size, share) for tile in pebble_tiles())
    stones = source.choice(["9a8f80", "7a736c", "c2ac8a", "8c7a66", "b7b1a8", "6c7276", "a8806a"], 3, replace=False)
    first, second, sand = (colour(str(text)) for text in stones)
    inside = np.minimum(joint, 1.3 * (0.62 - centre) + 0.1 * shade)
    dome = np.sqrt(np.clip(inside, 0, 0.7) / 0.7)
    reach, turn = 0.011 * size / share, source.uniform(0, 2 * np.pi)
    lit = dome - shifted(dome, reach * np.sin(turn), reach * np.cos(turn))
    grain = excerpt(cloud_tile(0.8), source, size, 0.5)
    stone = blend(first, second, shade[..., None]) * (0.74 + 0.32 * lit + 0.26 * dome + 0.06 * grain)[..., None]
    bed = sand * (0.5 + 0.13 * excerpt(cloud_tile(0.6), source, size, 0.9))[..., None]
    return blend(bed, stone, ease(inside, 0.03, 0.12)[..., None])


def _sky(source: Source, size: int) -> Floats:
    """Sky with soft clouds, by day or at dusk."""
    skies = ("5f9fd8 a9d0ee fdfdfb", "7aa6c8 c8dce6 fff6ea", "6a6fae e0a9a4 ffe3b8", "8fc2cf d8ecec ffffff")
    return _wash(source, size, _pick(source, skies), 0.7, 1.75)


def _paper(source: Source, size: int) -> Floats:
    """A collector's sheet: paper with a faint grid or a written label."""
    tone = colour(str(source.choice(["efe6d2", "e6ddc8", "f4f1ea", "d9cdb4"])))
    image = (
        tone
        * (1 + 0.018 * excerpt(cloud_tile(0.8), source, size, 0.7) - 0.03 * excerpt(cloud_tile(), source, size, 0.3))[
            ..., None
        ]
    )
    page = to_image(image)
    pen = ImageDraw.Draw(page)
    if source.random() < 0.7:
        x, y = source.choice([0.06, 0.62]) * size, source.choice([0.05, 0.82]) * size
        pen.rectangle([x, y, x + 0.32 * size, y + 0.13 * size], fill=(250, 246, 235), outline=(150, 135, 110))
        for row in range(3):
            end = x + source.uniform(0.14, 0.28) * size
            pen.line(
                [x + 0.03 * size, y + (0.03 + 0.035 * row) * size, end, y + (0.03 + 0.035 * row) * size],
                fill=(90, 75, 70),
            )
    else:
        step = max(4, int(source.uniform(0.08, 0.16) * size))
        for place in range(step // 2, size, step):
            pen.line([place, 0, place, size], fill=(205, 200, 190))
            pen.line([0, place, size, place], fill=(205, 200, 190))
    return from_image(page)
