"""Wing outlines: how they are invented and the look-up tables that locate a point in a wing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats
from .genes import Outline

STEPS = 1024
FORE_FORMS: dict[str, tuple[tuple[float, float], tuple[float, ...]]] = {
    "rounded": ((54, -20), (0.70, 0.80, 0.87, 0.93, 0.98, 0.97)),
    "pointed": ((50, -18), (0.66, 0.69, 0.74, 0.82, 0.95, 1.08)),
    "hooked": ((52, -20), (0.74, 0.76, 0.76, 0.79, 0.93, 1.06)),
    "long": ((40, -16), (0.56, 0.64, 0.76, 0.92, 1.07, 1.14)),
    "broad": ((58, -26), (0.76, 0.85, 0.90, 0.94, 0.97, 0.94)),
    "notched": ((54, -20), (0.72, 0.82, 0.76, 0.80, 0.98, 1.00)),
}
HIND_FORMS: dict[str, tuple[tuple[float, float], tuple[float, ...]]] = {
    "round": ((22, -84), (0.58, 0.70, 0.77, 0.80, 0.78, 0.72)),
    "drawn": ((20, -88), (0.66, 0.84, 0.86, 0.80, 0.74, 0.70)),
    "short": ((24, -74), (0.48, 0.58, 0.66, 0.72, 0.74, 0.70)),
    "angled": ((22, -82), (0.56, 0.68, 0.88, 0.84, 0.76, 0.72)),
    "fan": ((26, -90), (0.64, 0.78, 0.86, 0.88, 0.84, 0.74)),
}


def _vein_places(source: np.random.Generator, cells: int) -> tuple[float, ...]:
    inner = (np.arange(1, cells) + source.uniform(-0.12, 0.12, cells - 1)) / cells
    return (0.0, *(float(place) for place in inner), 1.0)


def invent_fore(source: np.random.Generator) -> Outline:
    """Return a forewing outline: one of the forms, with its measures varied a little."""
    form = list(FORE_FORMS)[source.integers(len(FORE_FORMS))]
    (lead, trail), reach = FORE_FORMS[form]
    lead, trail = np.radians(lead + source.uniform(-5, 5)), np.radians(trail + source.uniform(-5, 5))
    lengths = np.array(reach) * source.uniform(0.95, 1.03) + source.normal(0, 0.015, len(reach))
    scallop = source.choice([0.0, 0.0, source.uniform(0.01, 0.03)])
    bow = source.uniform(0.06, 0.2)
    return Outline(
        float(lead),
        float(trail),
        bow,
        source.uniform(-0.12, 0.1),
        tuple(map(float, lengths)),
        source.uniform(0.08, 0.2),
        float(scallop),
        (0.0, 0.0, 1.0),
        _vein_places(source, int(source.integers(6, 9))),
    )


def invent_hind(source: np.random.Generator) -> Outline:
    """Return a hindwing outline: one of the forms, plain, scalloped or tailed."""
    form = list(HIND_FORMS)[source.integers(len(HIND_FORMS))]
    (lead, trail), reach = HIND_FORMS[form]
    lead, trail = np.radians(lead + source.uniform(-4, 4)), np.radians(trail + source.uniform(-5, 5))
    lengths = np.array(reach) * source.uniform(0.92, 1.05) + source.normal(0, 0.015, len(reach))
    veins = _vein_places(source, int(source.integers(6, 8)))
    edge = source.choice(["plain", "scalloped", "tailed", "stubby"], p=[0.34, 0.3, 0.22, 0.14])
    scallop = source.uniform(0.03, 0.07) if edge == "scalloped" else source.uniform(0, 0.015)
    length = {"tailed": source.uniform(0.28, 0.5), "stubby": source.uniform(0.08, 0.16)}.get(str(edge), 0.0)
    # Tails grow where a vein ends.
    tail = (veins[2], length, source.uniform(0.028, 0.045))
    return Outline(
        float(lead),
        float(trail),
        source.uniform(-0.05, 0.1),
        source.uniform(-0.1, 0.25),
        tuple(map(float, lengths)),
        source.uniform(0.1, 0.22),
        float(scallop),
        tail,
        veins,
    )


@dataclass(frozen=True, slots=True)
class Tables:
    """Look-up tables over the place across the wing, STEPS entries from its trailing to its leading edge."""

    reach: Floats
    """Root to margin without tail or scallops; patterns are placed relative to it."""
    edge: Floats
    """Root to the true margin, with tail, scallops and notches torn out."""
    cell: NDArray[np.int64]
    within: Floats
    """-1..1 across the wing cell."""
    half: Floats
    """Half the cell's width, as a share of the wing's angle."""


def _smooth_reach(outline: Outline, place: Floats) -> Floats:
    knots = np.linspace(0, 1, len(outline.reach))
    raw = np.interp(place, knots, outline.reach)
    half = STEPS // 9
    kernel = np.hanning(2 * half + 1)
    padded = np.pad(raw, half, mode="reflect", reflect_type="odd")
    return np.asarray(np.convolve(padded, kernel / kernel.sum(), "valid"), np.float32)


def tables(outline: Outline, bites: list[tuple[float, float, float]]) -> Tables:
    """The tables of an outline with notches torn out (place, half width in place units, depth in wing lengths)."""
    place = np.linspace(0, 1, STEPS, dtype=np.float32)
    veins = np.array(outline.veins, np.float32)
    cell = np.clip(np.searchsorted(veins, place, side="right") - 1, 0, len(veins) - 2)
    half = (veins[cell + 1] - veins[cell]) / 2
    within = (place - veins[cell]) / half - 1
    reach = _smooth_reach(outline, place)
    edge = reach - outline.scallop * (1 - within**2)
    where, length, width = outline.tail
    away = np.abs(place - where) / width
    # A tail narrows from a broad foot to a rounded tip.
    edge += length * np.where(away < 1, np.sqrt(np.clip(1 - away, 0, 1)), 0) + 0.35 * length * np.exp(
        -((away / 2.2) ** 2)
    )
    edge *= 1 - outline.corner * np.clip((place - 0.9) / 0.1, 0, 1) ** 2.5
    edge *= 1 - 1.3 * outline.corner * np.clip((0.1 - place) / 0.1, 0, 1) ** 2.5
    for where, width, depth in bites:
        edge -= depth * np.clip(1 - np.abs(place - where) / width, 0, 1)
    return Tables(reach, edge.astype(np.float32), cell, within.astype(np.float32), half.astype(np.float32))
