"""The invention of species: lineages of siblings that share all genes but a few."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from . import palettes as p
from .arrays import stream
from .genes import (
    Apex,
    Band,
    BodyGenes,
    Eye,
    Genome,
    Ground,
    Margin,
    Patch,
    Rays,
    SpotRow,
    Veins,
    WingGenes,
)
from .outline import invent_fore, invent_hind

# Which of ten consecutive species descend from the same founder.
LINEAGES = (0, 0, 0, 1, 1, 1, 2, 2, 3, 4)
# A sibling differs from its founder in one block of the first kind, which always shows, and one of the second.
PLAIN_BLOCKS = ("bands", "margin", "ground")
OTHER_BLOCKS = ("eyes", "hind outline", "fore outline", "patches", "apex", "veins")
MARKS = (p.LIGHT, p.ACCENT, p.ACCENT_2, p.GROUND_2)
# The colours of a wing's field near the body and outside, and how often each pair comes up.
FIELDS = (
    (p.GROUND, p.GROUND_2),
    (p.GROUND_2, p.GROUND),
    (p.GROUND, p.GROUND),
    (p.DARK_2, p.GROUND),
    (p.GROUND, p.DARK_2),
    (p.DARK_2, p.DARK_2),
    (p.GROUND_2, p.GROUND_2),
)
FIELD_ODDS = (0.25, 0.2, 0.15, 0.12, 0.1, 0.1, 0.08)


def lineage(species: int) -> int:
    """The number of the species' founder lineage."""
    block, place = divmod(species, len(LINEAGES))
    return block * (max(LINEAGES) + 1) + LINEAGES[place]


def sibling_rank(species: int) -> int:
    """The species' place among its siblings, 0 for the founder."""
    place = species % len(LINEAGES)
    return place - LINEAGES.index(LINEAGES[place])


def own_blocks(seed: int, species: int) -> frozenset[str]:
    """The blocks of genes in which a species departs from its lineage; none for a founder."""
    if sibling_rank(species) == 0:
        return frozenset()
    source = stream(seed, "mutation", species)
    order = source.permutation(len(PLAIN_BLOCKS))
    return frozenset({PLAIN_BLOCKS[order[0]], OTHER_BLOCKS[source.integers(len(OTHER_BLOCKS))]})


@lru_cache(maxsize=512)
def genome(seed: int, species: int) -> Genome:
    """The genes of species number `species` of the world `seed`."""
    founder, own = lineage(species), own_blocks(seed, species)

    def source(block: str) -> np.random.Generator:
        """The stream of a block of genes: the species' own, or the one that it shares with its lineage."""
        return stream(seed, "gene", block, *((1, species) if block in own else (0, founder)))

    outlines = invent_fore(source("fore outline")), invent_hind(source("hind outline"))
    wings = []
    for hind, outline in enumerate(outlines):
        cells = len(outline.veins) - 1
        wings.append(
            WingGenes(
                outline,
                _ground(source("ground"), bool(hind)),
                _patches(source("patches"), bool(hind)),
                _rays(source("rays"), bool(hind)),
                _bands(source("bands"), bool(hind)),
                _apex(source("apex"), bool(hind)),
                _margin(source("margin"), bool(hind), cells),
                _eyes(source("eyes"), bool(hind), cells),
                _veins(source("veins")),
            )
        )
    sheen = float(stream(seed, "sheen", founder).choice([0.0, 0.12, 0.3, 0.6], p=[0.35, 0.3, 0.2, 0.15]))
    return Genome(p.palette(seed, founder), sheen, wings[0], wings[1], _body(source("body")))


def _ground(source: np.random.Generator, hind: bool) -> Ground:
    fore, after = source.choice(len(FIELDS), p=FIELD_ODDS), source.choice(len(FIELDS), p=FIELD_ODDS)
    other = source.random() < 0.3
    inner, outer = FIELDS[after if hind and other else fore]
    meet, soft = source.uniform(0.35, 0.7), source.choice([0.08, 0.25, 0.5])
    basal, ripple, freckle = source.uniform(0.1, 0.6), source.choice([0, 0, 0.06, 0.14]), source.choice([0, 0, 0.5])
    return Ground(int(inner), int(outer), float(meet), float(soft), float(basal), float(ripple), float(freckle))


def _patches(source: np.random.Generator, hind: bool) -> tuple[Patch, ...]:
    plan = source.choice(["none", "fore", "hind", "both"], p=[0.4, 0.25, 0.2, 0.15])
    role = int(source.choice([p.ACCENT, p.ACCENT_2, p.LIGHT, p.GROUND_2, p.DARK]))
    count = int(source.integers(1, 3))
    if plan == "none" or (plan == "fore" and hind) or (plan == "hind" and not hind):
        return ()
    if hind:
        source = np.random.default_rng(source.integers(2**32))
    return tuple(
        Patch(
            source.uniform(0.15, 0.85),
            source.uniform(0.3, 0.72),
            source.uniform(0.16, 0.36),
            source.uniform(0.12, 0.26),
            source.uniform(-0.8, 0.8),
            float(source.choice([0.08, 0.3])),
            role,
        )
        for _ in range(count)
    )


def _rays(source: np.random.Generator, hind: bool) -> Rays | None:
    plan = source.choice(["none", "fore", "hind", "both"], p=[0.72, 0.1, 0.1, 0.08])
    role = int(source.choice([p.DARK, p.LIGHT, p.ACCENT_2]))
    start, width = source.uniform(0.35, 0.6), source.uniform(0.12, 0.4)
    if plan == "none" or (plan == "fore" and hind) or (plan == "hind" and not hind):
        return None
    return Rays(float(start), float(start + source.uniform(0.25, 0.45)), float(width), role)


def _bands(source: np.random.Generator, hind: bool) -> tuple[Band, ...]:
    count = int(source.choice([1, 2, 3], p=[0.42, 0.4, 0.18]))
    places = np.sort(source.uniform(0.28, 0.78, count))
    if count > 1:
        places += np.linspace(-0.09, 0.09, count)
    bands = []
    for place in places:
        role = int(source.choice([*MARKS, p.DARK], p=[0.25, 0.2, 0.15, 0.15, 0.25]))
        edge = int(source.choice([-1, p.DARK, p.DARK_2])) if role != p.DARK else -1
        extent = source.choice(["full", "fore half", "hind half"], p=[0.7, 0.15, 0.15])
        start, stop = {"full": (-1.0, 2.0), "fore half": (0.4, 2.0), "hind half": (-1.0, 0.6)}[str(extent)]
        measures = source.uniform([-0.22, -0.7, -0.05, 0.03, -0.8], [0.22, 0.5, 0.07, 0.085, 0.8])
        broken = float(source.choice([0, 0, source.uniform(0.55, 0.8)]))
        soft, skips = float(source.choice([0.0, 0.0, 0.06])), source.random(2) < (0.12, 0.3)
        if skips[int(hind)]:
            continue
        # On the hindwing the same band runs on, turned to meet the forewing's.
        slope, curve, width, shift = measures[0], measures[1], measures[3], 0.0
        if hind:
            slope, shift = -slope * 0.6, 0.06
        bands.append(
            Band(
                float(place - shift),
                slope,
                curve,
                measures[2],
                width,
                measures[4],
                start,
                stop,
                broken,
                soft,
                role,
                edge,
            )
        )
    return tuple(bands)


def _apex(source: np.random.Generator, hind: bool) -> Apex:
    extent = float(source.choice([0.0, source.uniform(0.22, 0.42)], p=[0.55, 0.45]))
    role = int(source.choice([p.DARK, p.DARK_2, p.ACCENT], p=[0.6, 0.2, 0.2]))
    spots = float(source.choice([0.0, source.uniform(0.018, 0.034)], p=[0.35, 0.65]))
    spot_role, soft = int(source.choice([p.LIGHT, p.ACCENT, p.GROUND])), float(source.choice([0.02, 0.1]))
    return Apex(0.0 if hind else extent, soft, role, spot_role, spots)


def _margin(source: np.random.Generator, hind: bool, cells: int) -> Margin:
    role = int(source.choice([p.DARK, p.DARK_2, p.GROUND_2, p.ACCENT], p=[0.55, 0.2, 0.15, 0.1]))
    width = float(source.choice([0.02, source.uniform(0.04, 0.09), source.uniform(0.1, 0.17)], p=[0.2, 0.45, 0.35]))
    scallop, swell = float(source.choice([0, source.uniform(0.01, 0.05)])), source.uniform(-0.4, 0.8)
    soft = float(source.choice([0.0, 0.0, 0.05]))
    rows = []
    inset = source.uniform(0.03, 0.06)
    for _ in range(int(source.choice([0, 1, 2], p=[0.3, 0.4, 0.3]))):
        shape = str(source.choice(["dot", "dot", "lunule", "arrow", "bar"]))
        spot_role = int(source.choice([p.LIGHT, p.ACCENT, p.ACCENT_2, p.GROUND_2 if width > 0.09 else p.DARK]))
        part = source.choice(["all", "fore", "hind"], p=[0.6, 0.15, 0.25])
        size, gap = source.uniform(0.016, 0.034), source.uniform(0.055, 0.09)
        if part == "all" or part == ("hind" if hind else "fore"):
            rows.append(SpotRow(inset, size, shape, spot_role, 0, cells - 1))
        inset += gap
    if width <= 0.03 and not rows:
        rows.append(SpotRow(0.05, 0.024, "dot", p.DARK, 0, cells - 1))
    fringe = int(source.choice([-1, p.LIGHT], p=[0.6, 0.4]))
    return Margin(
        width * (1.0 if not hind else source.uniform(0.6, 1.2)), scallop, swell, soft, role, tuple(rows), fringe
    )


def _eyes(source: np.random.Generator, hind: bool, cells: int) -> tuple[Eye, ...]:
    plans = {"none": (0, 0), "one fore": (1, 0), "one hind": (0, 1), "one each": (1, 1)}
    plans |= {"row": (1, 4), "rows": (3, 5), "big hind": (0, 1), "two": (2, 2)}
    plan = str(source.choice(list(plans), p=[0.36, 0.1, 0.1, 0.12, 0.1, 0.06, 0.08, 0.08]))
    radius = source.uniform(0.045, 0.075) * {"big hind": 2.0, "rows": 0.75}.get(plan, 1.0)
    rings = (
        (1.0, int(source.choice([p.DARK_2, p.ACCENT, p.LIGHT]))),
        (source.uniform(0.78, 0.88), int(source.choice([p.ACCENT, p.LIGHT, p.ACCENT_2]))),
        (source.uniform(0.5, 0.66), p.DARK),
        *([(source.uniform(0.25, 0.36), int(source.choice([p.ACCENT_2, p.SHEEN])))] if source.random() < 0.4 else []),
    )
    pupil, along, first = source.uniform(0.12, 0.22), source.uniform(0.62, 0.76), source.integers(0, 3, 2)
    count = plans[plan][int(hind)]
    start = min(int(first[int(hind)]) + (1 if hind else cells // 2 - 1), cells - count)
    if count >= 4:
        start = max(0, (cells - count) // 2)
    place = 0.62 if plan == "big hind" else along
    return tuple(Eye(start + index, place, radius * (1 - 0.12 * (index % 2)), rings, pupil) for index in range(count))


def _veins(source: np.random.Generator) -> Veins:
    width, strength = source.choice([0.006, 0.011, 0.02], p=[0.5, 0.3, 0.2]), source.choice([0.25, 0.5, 0.9])
    role, bars = int(source.choice([p.DARK, p.DARK_2])), int(source.choice([0, 0, 1, 2]))
    bar_role = int(source.choice([p.DARK, p.ACCENT, p.LIGHT]))
    return Veins(float(width), float(strength), role, source.uniform(0.4, 0.54), bars, bar_role)


def _body(source: np.random.Generator) -> BodyGenes:
    role, ring_role = int(source.choice([p.DARK, p.DARK_2])), int(source.choice([p.GROUND, p.LIGHT, p.ACCENT]))
    width, length = source.uniform(0.055, 0.085), source.uniform(0.42, 0.62)
    return BodyGenes(
        width,
        length,
        int(source.choice([0, 5, 7])),
        role,
        ring_role,
        source.uniform(0.42, 0.62),
        source.uniform(0.18, 0.36),
        source.uniform(0.018, 0.032),
    )
