"""One image: background, shadow, butterfly, foreground plants, and the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .arrays import Floats, blend, blurred, cloud_tile, colour, ease, excerpt, from_image, shifted, stream, to_image
from .backdrop import draw_backdrop, leaf_shape
from .pose import Individual, Light, Pose
from .species import genome
from .wings import draw_butterfly

DRAWING_VERSION = 1
"""Increased whenever the same arguments would give different pixels; part of the name of the cache folder."""


def draw_image(seed: int, species: int, image: int, size: int = 224) -> NDArray[np.uint8]:
    """Draw image number `image` of species number `species`: [size, size, 3] uint8, RGB.

    The pixels depend on the arguments only, not on earlier images or on the process.
    """
    if seed < 0 or species < 0 or image < 0:
        raise ValueError(f"seed, species and image must be 0 or more, found {seed}, {species} and {image}")
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels, found {size}")
    source = stream(seed, "picture", species, image)
    pose, light, one = Pose.take(source, 2 * size), Light.fall(source), Individual.grow(source)
    butterfly, cover = draw_butterfly(genome(seed, species), one, pose, light, 2 * size).halved()
    ground = _out_of_focus(source, draw_backdrop(source, size))
    scene = _shadow(ground, cover, pose, light) * (0.55 + 0.45 * light.colour)
    scene = scene * (1 - cover[..., None]) + butterfly * light.colour
    scene = _foreground(source, scene)
    return _camera(source, scene)


def _out_of_focus(source: np.random.Generator, ground: Floats) -> Floats:
    size = len(ground)
    blur = source.choice([0.0, source.uniform(0.003, 0.012)], p=[0.35, 0.65]) * size
    image = to_image(ground)
    return from_image(blurred(image, blur))


def _shadow(ground: Floats, cover: Floats, pose: Pose, light: Light) -> Floats:
    """The butterfly's shadow on the background, away from the light."""
    size = len(ground)
    reach = 0.12 * pose.scale / 2
    cast = shifted(cover, float(light.towards[1]) * reach, -float(light.towards[0]) * reach)
    soft = from_image(blurred(to_image(cast), light.soft * size))
    return np.asarray(ground * (1 - light.shadow * 1.3 * soft)[..., None], np.float32)


def _foreground(source: np.random.Generator, scene: Floats) -> Floats:
    """Grass blades or a leaf close to the camera, out of focus, over an edge of the image."""
    size = len(scene)
    if source.random() > 0.45:
        return scene
    blur = source.uniform(0.002, 0.02) * size
    hues = ["3f6b2c", "6f9440", "a9b45a", "2c4f30", "b89a58"]
    if source.random() < 0.65:
        mask = _blades(source, size)
    else:
        corner = source.integers(0, 2, 2) * size + source.uniform(-0.08, 0.08, 2) * size
        mask = leaf_shape(source, size, (float(corner[0]), float(corner[1])), source.uniform(0.5, 0.9) * size)
        hues.append("c97a92")
    veil = from_image(blurred(mask, blur))
    hue = colour(str(source.choice(hues)))
    tone = hue * (0.95 + 0.13 * excerpt(cloud_tile(), source, size, 0.2))[..., None]
    return blend(scene, tone, (0.96 * veil)[..., None])


def _blades(source: np.random.Generator, size: int) -> Image.Image:
    """A mask of one to three grass blades that rise from the lower edge."""
    mask = Image.new("L", (size, size))
    pen = ImageDraw.Draw(mask)
    for _ in range(source.integers(1, 4)):
        foot, tip = source.uniform(-0.1, 1.1) * size, source.uniform(0.1, 0.8) * size
        lean, width = source.uniform(-0.5, 0.5) * size, source.uniform(0.012, 0.035) * size
        step = np.linspace(0, 1, 10)
        x, y = foot + lean * step**1.7, size * 1.02 - (size - tip) * step
        half = width * (1 - step**2)
        outline = [*zip(x - half, y, strict=True), *zip((x + half)[::-1], y[::-1], strict=True)]
        pen.polygon([(float(a), float(b)) for a, b in outline], fill=255)
    return mask


def _camera(source: np.random.Generator, scene: Floats) -> NDArray[np.uint8]:
    """Focus and motion blur, exposure, contrast, saturation, vignette and sensor noise."""
    size = len(scene)
    line = np.linspace(-1, 1, size, dtype=np.float32)
    fall = np.asarray(line[:, None] ** 2 + line[None, :] ** 2, np.float32)
    scene = np.asarray(
        scene * ((1 - source.uniform(0, 0.16) * fall) * source.uniform(0.94, 1.18))[..., None], np.float32
    )
    # Bright parts are compressed towards white instead of clipped, as on film.
    over = np.clip(scene - 0.8, 0, None)
    scene = np.asarray(scene - over + 0.3 * over / (over + 0.3), np.float32)
    blur = abs(source.normal(0, 0.0032)) * size
    image = to_image(scene)
    if source.random() < 0.12:
        image = _moved(source, image)
    scene = from_image(blurred(image, blur))
    scene = blend(scene.mean(2, keepdims=True), scene, source.uniform(0.85, 1.22))
    scene = blend(scene, ease(scene, 0, 1), source.uniform(-0.1, 0.4))
    noise = source.standard_normal((size, size, 3), np.float32)
    noise = 0.7 * noise + 0.5 * noise[..., :1]
    scene += abs(source.normal(0, 0.011)) * noise * (0.5 + scene)
    return (np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8)


def _moved(source: np.random.Generator, image: Image.Image) -> Image.Image:
    """Motion blur: the mean of shifted copies."""
    reach, turn = source.uniform(1, 2.5) * image.width / 224, source.uniform(0, np.pi)
    pixels = from_image(image)
    copies = [shifted(pixels, reach * s * np.sin(turn), reach * s * np.cos(turn)) for s in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    return to_image(np.asarray(np.mean(copies, axis=0), np.float32))
