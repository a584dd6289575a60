"""The genes of an invented species: what all its images have in common."""

from __future__ import annotations

from dataclasses import dataclass

from .arrays import Floats


@dataclass(frozen=True, slots=True)
class Outline:
    """A wing's form. Angles are radians from straight outward, forward positive; lengths are in forewing lengths."""

    lead: float
    trail: float
    bow_lead: float
    bow_trail: float
    reach: tuple[float, ...]
    """Distances from the root to the outer margin, at equal steps from the trailing to the leading edge."""
    corner: float
    scallop: float
    tail: tuple[float, float, float]
    """Place (0..1 from the trailing to the leading edge), length and half width (in place units)."""
    veins: tuple[float, ...]
    """Places of the veins, rising, the first 0 and the last 1; wing cells lie between them."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The wing's field: colours near the body and outside, where they meet (0..1 from root to margin), how softly."""

    inner: int
    outer: int
    meet: float
    soft: float
    basal: float
    ripple: float
    freckle: float


@dataclass(frozen=True, slots=True)
class Band:
    """A stripe that crosses the wing from its leading to its trailing edge."""

    place: float
    slope: float
    curve: float
    scallop: float
    width: float
    taper: float
    start: float
    stop: float
    broken: float
    """0: in one piece; above: the width of the spot in each wing cell."""
    soft: float
    role: int
    edge: int
    """The role of the line that frames the band; -1: none."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A flame of colour: place and extent across (0..1 of the wing's angle) and along (0..1 from root to margin)."""

    across: float
    along: float
    width: float
    length: float
    tilt: float
    soft: float
    role: int


@dataclass(frozen=True, slots=True)
class Rays:
    """Streaks between the veins, from one distance to another (0..1 from root to margin)."""

    start: float
    stop: float
    width: float
    role: int


@dataclass(frozen=True, slots=True)
class Eye:
    """An eye spot: its wing cell, distance (0..1), radius (wing lengths) and its rings, outermost first."""

    cell: int
    along: float
    radius: float
    rings: tuple[tuple[float, int], ...]
    """Each ring's share of the radius and its colour role."""
    pupil: float


@dataclass(frozen=True, slots=True)
class SpotRow:
    """One spot in each wing cell from `first` to `last`, at a distance from the margin in wing lengths."""

    inset: float
    size: float
    shape: str
    role: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Margin:
    """The border: width in wing lengths, how far it bulges in each cell, softness, role; spots; chequered fringe."""

    width: float
    scallop: float
    swell: float
    soft: float
    role: int
    rows: tuple[SpotRow, ...]
    fringe: int


@dataclass(frozen=True, slots=True)
class Apex:
    """A dark (or bright) wing tip: how far it reaches inward (0: none), softness, role; its spots' role and size."""

    extent: float
    soft: float
    role: int
    spot_role: int
    spot_size: float


@dataclass(frozen=True, slots=True)
class Veins:
    """How veins are drawn: width in wing lengths, strength 0..1, role; where the inner cell ends, bars across it."""

    width: float
    strength: float
    role: int
    cell_end: float
    bars: int
    bar_role: int


@dataclass(frozen=True, slots=True)
class WingGenes:
    """All genes of one pair of wings, in the order in which they are painted."""

    outline: Outline
    ground: Ground
    patches: tuple[Patch, ...]
    rays: Rays | None
    bands: tuple[Band, ...]
    apex: Apex
    margin: Margin
    eyes: tuple[Eye, ...]
    veins: Veins


@dataclass(frozen=True, slots=True)
class BodyGenes:
    """Body: half width and length in wing lengths, rings of the abdomen, roles; antennae: length, spread, club size."""

    width: float
    length: float
    rings: int
    role: int
    ring_role: int
    antenna: float
    spread: float
    club: float


@dataclass(frozen=True, slots=True)
class Genome:
    """A species: colours by role [8, 3], the strength of its sheen, wings and body."""

    palette: Floats
    sheen: float
    fore: WingGenes
    hind: WingGenes
    body: BodyGenes
