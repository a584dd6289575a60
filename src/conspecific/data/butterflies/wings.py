"""Projection of wings and body into the image: the pixels they cover, and their shading."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .arrays import Floats, at_points, blend, cloud_tile, ramp
from .genes import BodyGenes, Genome, Outline, WingGenes
from .outline import STEPS, Tables, tables
from .palettes import DARK
from .pattern import Spread, WingPainter
from .pose import Individual, Light, Pose

FORE_ROOT, HIND_ROOT = (0.03, 0.05), (0.03, -0.05)
TILT = 0.06
"""How much further the hindwing is opened than the forewing (radians)."""


class Layer:
    """The butterfly alone: colours multiplied by coverage, [3, side, side], and coverage [side, side]."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.rgb: Floats = np.zeros((3, side * side), np.float32)
        self.cover: Floats = np.zeros(side * side, np.float32)

    def put(self, flat: np.ndarray[tuple[int], np.dtype[np.intp]], rgb: Floats, cover: Floats) -> None:
        """Lay colours [3, N] with coverage [N] over the pixels with flat indices [N]."""
        left = 1 - cover
        self.rgb[:, flat] = self.rgb[:, flat] * left + rgb * cover
        self.cover[flat] = self.cover[flat] * left + cover

    def halved(self) -> tuple[Floats, Floats]:
        """Colours [side/2, side/2, 3] and coverage [side/2, side/2], each the mean of four pixels."""
        half = self.side // 2
        rgb = self.rgb.reshape(3, half, 2, half, 2)
        cover = self.cover.reshape(half, 2, half, 2)
        small = rgb[:, :, 0, :, 0] + rgb[:, :, 0, :, 1] + rgb[:, :, 1, :, 0] + rgb[:, :, 1, :, 1]
        thin = cover[:, 0, :, 0] + cover[:, 0, :, 1] + cover[:, 1, :, 0] + cover[:, 1, :, 1]
        return np.asarray(small.transpose(1, 2, 0) * 0.25, np.float32, order="C"), np.asarray(thin * 0.25, np.float32)


def draw_butterfly(genome: Genome, one: Individual, pose: Pose, light: Light, side: int) -> Layer:
    """The butterfly on a layer of `side` x `side` pixels: hindwings, forewings, antennae, body."""
    layer = Layer(side)
    palette = np.clip((genome.palette + one.tint) * one.vigour, 0, 1).astype(np.float32)
    for index, (genes, root) in enumerate(((genome.hind, HIND_ROOT), (genome.fore, FORE_ROOT))):
        for hand, right in enumerate((-1, 1)):
            bites = list(one.bites[(1 - index) * 2 + hand]) if one.bites else []
            opening = pose.openings[hand] - TILT * (1 - index)
            sweep = pose.sweeps[hand] * (1.0 if index else -0.5)
            place = pose.plane(right, root, sweep, opening)
            _wing(layer, genome, genes, tables(genes.outline, bites), place, palette, one, pose, light)
    _antennae(layer, genome.body, palette, pose)
    _body(layer, genome.body, palette, pose, light)
    return layer


def _covered(to_pixels: Floats, corners: Floats, side: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], Floats]:
    """Flat indices of the pixels in the box around projected corners [2, K], and their plane coordinates [2, N]."""
    ahead = to_pixels @ np.vstack([corners, np.ones(corners.shape[1])])
    box = ahead[:2] / ahead[2]
    low, high = np.clip(np.floor(box.min(1)), 0, side).astype(int), np.clip(np.ceil(box.max(1)), 0, side).astype(int)
    row, column = np.arange(low[1], high[1]), np.arange(low[0], high[0])
    flat = (row[:, None] * side + column[None, :]).ravel()
    back = np.linalg.inv(to_pixels).astype(np.float32)
    x, y = (column + 0.5).astype(np.float32), (row + 0.5).astype(np.float32)
    three = (back[:, 0, None, None] * x[None, None, :] + back[:, 1, None, None] * y[None, :, None]) + back[
        :, 2, None, None
    ]
    three = three.reshape(3, -1)
    return flat, three[:2] / three[2]


def _spread(outline: Outline, table: Tables, plane: Floats, pixel: float) -> tuple[np.ndarray, Spread, Floats]:
    """Which of the points [2, N] the wing covers, their wing coordinates, and their coverage."""
    distance, angle = np.hypot(plane[0], plane[1]), np.arctan2(plane[1], plane[0])
    lead = outline.lead - outline.bow_lead * distance**2
    trail = outline.trail + outline.bow_trail * distance * (1 - distance)
    place = (angle - trail) / (lead - trail)
    index = np.clip(place * (STEPS - 1), 0, STEPS - 1).astype(np.intp)
    breadth = (lead - trail) * distance
    inside = np.minimum(table.edge[index] - distance, np.minimum(place, 1 - place) * breadth)
    kept = np.flatnonzero(inside > -pixel)
    index, distance = index[kept], distance[kept]
    reach = table.reach[index]
    spread = Spread(
        np.clip(place[kept], 0, 1),
        distance,
        distance / reach,
        table.edge[index] - distance,
        breadth[kept],
        table.cell[index],
        table.within[index],
        table.half[index],
        pixel,
        table,
        reach,
    )
    return kept, spread, ramp(inside[kept], 2 * pixel)


def _wing(
    layer: Layer,
    genome: Genome,
    genes: WingGenes,
    table: Tables,
    placed: tuple[Floats, Floats],
    palette: Floats,
    one: Individual,
    pose: Pose,
    light: Light,
) -> None:
    to_pixels, normal = placed
    outline = genes.outline
    turn = np.linspace(outline.trail - 0.3, outline.lead + 0.3, 24)
    longest = float(table.edge.max()) * 1.02
    corners = np.hstack([longest * np.stack([np.cos(turn), np.sin(turn)]), np.zeros((2, 1))])
    flat, plane = _covered(to_pixels, corners, layer.side)
    if not len(flat):
        return
    kept, spread, cover = _spread(outline, table, plane, 1 / pose.scale)
    # Half-way between light and camera: where a wing's gloss is brightest.
    halfway = light.towards + np.array([0, 0, 1], np.float32)
    gloss = float(abs(normal @ halfway / np.linalg.norm(halfway))) ** 6
    rgb = WingPainter(genes, palette, spread, one).paint(genome.sheen * (0.25 + 0.95 * gloss))
    facing = float(normal @ light.towards)
    bend = float(light.towards[0] * normal[1] - light.towards[1] * normal[0])
    shade = light.ambient + (1 - light.ambient) * 1.15 * abs(facing)
    if facing * normal[2] < 0:
        shade *= 0.8
    form = 1 + 0.14 * bend * (spread.place - 0.5) + 0.1 * (spread.along - 0.6) * (0.5 - abs(bend))
    if genes is genome.hind:
        # The forewing's shadow.
        form *= 1 - 0.4 * light.shadow * np.exp(-(1 - spread.place) / 0.14)
    layer.put(flat[kept], np.asarray(rgb * (shade * form), np.float32), cover)


def _body(layer: Layer, genes: BodyGenes, palette: Floats, pose: Pose, light: Light) -> None:
    to_pixels, _ = pose.plane(1, (0.0, 0.0), 0.0, 0.0)
    length, width = genes.length, genes.width
    corners = np.array([[-0.16, 0.16, 0.16, -0.16], [-length - 0.1, -length - 0.1, 0.36, 0.36]])
    flat, plane = _covered(to_pixels, corners, layer.side)
    if not len(flat):
        return
    x, y = plane
    fur = at_points(cloud_tile(0.5), x * 900, y * 240)
    parts = (
        (0.0, 0.01, 1.0 * width, 0.17),
        (0.0, -0.08 - length / 2, 0.72 * width, length / 2),
        (0, 0.2, 0.62 * width, 0.055),
    )
    light_x, light_y = float(light.towards[0]), float(light.towards[1])
    for number, (across, along, half, reach) in enumerate(parts):
        u, v = (x - across) / half, (y - along) / reach
        if number == 1:
            u = u / (0.72 + 0.28 * v)
        radius = np.sqrt(u * u + v * v) + 0.06 * fur * (number != 1)
        kept = np.flatnonzero(radius < 1.1)
        u, v, radius = u[kept], v[kept], radius[kept]
        height = np.sqrt(np.clip(1 - radius**2, 0, 1))
        hue = np.repeat(blend(palette[genes.role], palette[genes.ring_role], 0.22)[:, None], len(kept), 1)
        if genes.rings and number == 1:
            hue = blend(
                hue, palette[genes.ring_role][:, None], 0.65 * ramp(np.cos(v * np.pi * genes.rings) - 0.45, 0.5)
            )
        shade = 0.45 + 0.5 * height + 0.35 * (u * light_x + 0.5 * v * light_y) + 0.12 * fur[kept]
        gloss = 0.16 * np.clip(height - 0.3 * np.abs(u - 0.5 * light_x), 0, 1) ** 8
        layer.put(flat[kept], np.asarray(np.clip(hue * shade + gloss, 0, 1), np.float32), ramp(1 - radius, 0.16))


def _antennae(layer: Layer, genes: BodyGenes, palette: Floats, pose: Pose) -> None:
    to_pixels, _ = pose.plane(1, (0.0, 0.0), 0.0, 0.12)
    mask = Image.new("L", (layer.side, layer.side))
    pen = ImageDraw.Draw(mask)
    step = np.linspace(0, 1, 14)
    for hand in (-1, 1):
        path = np.stack(
            [hand * (0.02 + genes.spread * step**1.3), 0.23 + genes.antenna * step - 0.1 * step**3, np.ones(14)]
        )
        ahead = to_pixels @ path
        points = (ahead[:2] / ahead[2]).T
        pen.line(
            [(float(a), float(b)) for a, b in points], fill=255, width=max(2, round(pose.scale * 0.014)), joint="curve"
        )
        club = pose.scale * genes.club * 0.8
        (a, b), (c, d) = points[-1], points[-2]
        pen.line([(float(a), float(b)), (float(c), float(d))], fill=255, width=max(2, round(club * 1.3)))
        pen.ellipse([float(a - club), float(b - club), float(a + club), float(b + club)], fill=255)
    flat = np.flatnonzero(np.asarray(mask).ravel())
    layer.put(flat, np.repeat(palette[DARK][:, None] * 0.8 + 0.04, len(flat), 1), np.full(len(flat), 0.9, np.float32))
