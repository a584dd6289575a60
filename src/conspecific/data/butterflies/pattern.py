"""Painting a wing: the pattern genes, one over the other, evaluated at the pixels of the wing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, at_points, blend, cloud_tile, ease, ramp
from .genes import Apex, Band, Eye, Margin, Patch, Rays, SpotRow, Veins, WingGenes
from .outline import STEPS, Tables
from .palettes import LIGHT, SHEEN
from .pose import Individual


@dataclass(slots=True)
class Spread:
    """The pixels of a wing, [N] each, in the wing's own coordinates; lengths in forewing lengths."""

    place: Floats
    """0..1 from the trailing to the leading edge."""
    distance: Floats
    """From the wing's root."""
    along: Floats
    """0..1 from the root to the margin (above 1 in a tail)."""
    inset: Floats
    """From the margin inward."""
    breadth: Floats
    """The wing's breadth at this distance, edge to edge."""
    cell: NDArray[np.int64]
    within: Floats
    half: Floats
    pixel: float
    """The size of a pixel."""
    tables: Tables
    reach: Floats
    """From the root to the margin without tail or scallops."""


class WingPainter:
    """Paints the genes of one wing on its pixels; `rgb` is [3, N]."""

    def __init__(self, genes: WingGenes, palette: Floats, spread: Spread, individual: Individual) -> None:
        self.genes, self.palette, self.at, self.one = genes, palette, spread, individual
        self.rgb: Floats = np.empty((3, len(spread.place)), np.float32)

    def paint(self, sheen: Floats | float) -> Floats:
        """The colours [3, N]: field, patches, rays, bands, tip, border, eyes, veins, then sheen and scales."""
        genes = self.genes
        self._ground()
        for patch in genes.patches:
            self._patch(patch)
        if genes.rays is not None:
            self._rays(genes.rays)
        self._bars(genes.veins)
        for band in genes.bands:
            self._band(band)
        if genes.apex.extent:
            self._apex(genes.apex)
        self._margin(genes.margin)
        for eye in genes.eyes:
            self._eye(eye)
        self._veins(genes.veins)
        self._finish(sheen)
        return self.rgb

    def _lay(self, cover: Floats, role: int) -> None:
        hue = self.palette[role][:, None]
        self.rgb += cover * (hue - self.rgb)

    def _ground(self) -> None:
        ground, at = self.genes.ground, self.at
        share = ease(at.along, ground.meet - ground.soft, ground.meet + ground.soft)
        self.rgb[:] = blend(self.palette[ground.inner][:, None], self.palette[ground.outer][:, None], share)
        if ground.ripple:
            noise = at_points(cloud_tile(), at.place * 150 + self.one.tile[0], at.distance * 90 + self.one.tile[1])
            self.rgb *= 1 + ground.ripple * np.sin(at.distance * 120 + 4 * noise)
        if ground.freckle:
            noise = at_points(cloud_tile(0.6), at.place * 190 + self.one.tile[1], at.distance * 130)
            self._lay(ground.freckle * ramp(noise - 1.5, 0.8), self.genes.veins.role)

    def _patch(self, patch: Patch) -> None:
        at = self.at
        across, along = at.place - patch.across, at.along - patch.along - self.one.shift
        slanted = along + patch.tilt * across
        radius = np.sqrt((across / patch.width) ** 2 + (slanted / (patch.length * self.one.bands)) ** 2)
        self._lay(ramp(1 - radius, patch.soft + 0.05), patch.role)

    def _rays(self, rays: Rays) -> None:
        at = self.at
        reach = np.clip((at.along - rays.start) / 0.1, 0, 1) * np.clip((rays.stop - at.along) / 0.15, 0, 1)
        self._lay(reach * ramp(rays.width * self.one.bands * (0.4 + at.along) - np.abs(at.within), 0.3), rays.role)

    def _bars(self, veins: Veins) -> None:
        """Bars across the inner cell of the wing."""
        at = self.at
        inside = ramp(0.2 - np.abs(at.place - 0.58), 0.06)
        for index in range(veins.bars):
            middle = veins.cell_end * (0.92 - 0.34 * index) + self.one.shift
            width = 0.035 * self.one.spots
            self._lay(inside * ramp(width - np.abs(at.along - middle), 2 * at.pixel), veins.bar_role)

    def _band(self, band: Band) -> None:
        at = self.at
        away = at.place - 0.5
        bulge = band.scallop * (1 - at.within**2)
        middle = band.place + self.one.shift + away * (band.slope + band.curve * away) + bulge
        width = band.width * self.one.bands * (1 + band.taper * away)
        inside = width - np.abs(at.along - middle) * at.reach
        if band.broken:
            inside = np.minimum(inside, (band.broken - np.abs(at.within)) * at.half * at.breadth)
        inside = np.minimum(inside, np.minimum(at.place - band.start, band.stop - at.place) * at.breadth)
        soft = 2 * at.pixel + band.soft
        if band.edge >= 0:
            self._lay(ramp(inside + 0.014, soft), band.edge)
        self._lay(ramp(inside, soft), band.role)

    def _apex(self, apex: Apex) -> None:
        at = self.at
        # The tip's inner edge runs slantwise from the leading edge to the outer margin.
        inside = apex.extent * self.one.border - (1.05 - at.along) - 0.75 * (1 - at.place) + 0.25 * apex.extent
        self._lay(ramp(inside, apex.soft + 2 * at.pixel), apex.role)
        if apex.spot_size:
            row = SpotRow(0.2 + 0.3 * apex.extent, apex.spot_size, "dot", apex.spot_role, 0, 0)
            last = len(self.genes.outline.veins) - 2
            self._row(row, range(last - 2, last + 1))

    def _margin(self, margin: Margin) -> None:
        at = self.at
        width = margin.width * self.one.border * (1 + margin.swell * (at.place - 0.4)) - margin.scallop * (
            1 - at.within**2
        )
        self._lay(ramp(width - at.inset, margin.soft + 2 * at.pixel), margin.role)
        for row in margin.rows:
            self._row(row, range(row.first, row.last + 1))
        if margin.fringe >= 0:
            chequer = ramp(0.62 - np.abs(at.within), 0.2)
            self._lay(0.9 * chequer * ramp(0.017 - at.inset, 2 * at.pixel), margin.fringe)

    def _row(self, row: SpotRow, cells: range) -> None:
        at = self.at
        size = row.size * self.one.spots
        side = at.within * at.half * at.breadth
        depth = at.inset - row.inset
        if row.shape == "dot":
            inside = size - np.hypot(side, depth)
        elif row.shape == "lunule":
            inside = np.minimum(1.35 * size - np.hypot(side, depth), np.hypot(side, depth + 0.9 * size) - 1.15 * size)
        elif row.shape == "arrow":
            inside = 0.62 * size - np.abs(depth - 1.1 * np.abs(side) + 0.5 * size)
            inside = np.minimum(inside, 1.4 * size - np.abs(side))
        else:
            inside = np.minimum(0.55 * size - np.abs(depth), (0.72 - np.abs(at.within)) * at.half * at.breadth)
        chosen = (at.cell >= cells.start) & (at.cell < cells.stop)
        self._lay(ramp(inside, 2 * at.pixel) * chosen, row.role)

    def _eye(self, eye: Eye) -> None:
        at, veins = self.at, self.genes.outline.veins
        middle = (veins[eye.cell] + veins[eye.cell + 1]) / 2
        centre = (eye.along + self.one.shift) * float(at.tables.reach[int(middle * (STEPS - 1))])
        side, depth = (at.place - middle) * at.breadth, at.distance - centre
        away = np.hypot(side, depth)
        radius = eye.radius * self.one.eyes
        near = np.flatnonzero(away < radius + 2 * at.pixel)
        rgb, away = self.rgb[:, near], away[near]
        for share, role in eye.rings:
            rgb = blend(rgb, self.palette[role][:, None], ramp(share * radius - away, 2 * at.pixel))
        glint = np.hypot(side[near] - 0.16 * radius, depth[near] - 0.1 * radius)
        rgb = blend(rgb, self.palette[LIGHT][:, None], ramp(eye.pupil * radius - glint, 2 * at.pixel))
        self.rgb[:, near] = rgb

    def _veins(self, veins: Veins) -> None:
        at = self.at
        to_vein = (1 - np.abs(at.within)) * at.half * at.breadth
        end = veins.cell_end - 0.5 * (at.place - 0.58) ** 2
        in_cell = (np.abs(at.place - 0.58) < 0.2) & (at.along < end)
        width = veins.width * (1.25 - 0.6 * at.along)
        cover = ramp(width - to_vein, 2 * at.pixel) * ~in_cell
        crossing = ramp(width - np.abs(at.along - end), 2 * at.pixel) * (np.abs(at.place - 0.58) < 0.2)
        self._lay(veins.strength * np.maximum(cover, crossing), veins.role)
        # Between veins the membrane is a little lighter: it bulges.
        self.rgb *= 1.05 - 0.1 * at.within**2

    def _finish(self, sheen: Floats | float) -> None:
        at, one = self.at, self.one
        wave = sheen * (0.55 + 0.45 * np.cos(5 * at.along + 3 * at.place))
        glow = self.palette[SHEEN][:, None] * (0.35 + 0.9 * self.rgb.mean(0))
        self.rgb += np.clip(wave, 0, 1) * (glow - 0.55 * self.rgb)
        dusk = self.genes.ground.basal * np.exp(-at.distance / 0.16)
        self._lay(dusk, self.genes.veins.role)
        # Hairs run outward from the body.
        hairs = at_points(cloud_tile(0.8), at.place * 420 + one.tile[0], at.distance * 36)
        self.rgb *= 1 + 0.16 * hairs * np.exp(-at.distance / 0.2)
        scales = at_points(cloud_tile(0.5), at.place * 300 + one.tile[1], at.distance * 110 + one.tile[0])
        broad = at_points(cloud_tile(), at.place * 120 + one.tile[0], at.distance * 90)
        self.rgb *= 1 + 0.035 * scales + 0.04 * broad
        grey = self.rgb.mean(0) * 0.75 + 0.2
        self.rgb += one.fading * (0.35 + 0.5 * at.along) * (grey - self.rgb)
