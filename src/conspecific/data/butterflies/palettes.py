"""Sixteen palette families, each shared by many species, and the colour roles that pattern genes point to."""

from __future__ import annotations

import numpy as np

from .arrays import Floats, colour, stream

GROUND, GROUND_2, DARK, LIGHT, ACCENT, ACCENT_2, DARK_2, SHEEN = range(8)

FAMILIES: dict[str, str] = {
    "amber": "e07b1f f2a541 1c120e fff3dc c8420f f7d27a 2b1a12 ffb347",
    "azure": "1f5fc4 4aa3e8 0b1026 e8f4ff 7fd0ff f0c860 141a33 3fd0ff",
    "sulphur": "f0cb34 fae78a 3a2c14 fffbe6 ee8428 d0a522 5a4420 fff2a0",
    "chalk": "f1ece0 fffaf0 2e2b2b ffffff f28a30 b4bc84 4a4644 fff4ff",
    "russet": "a3321f c9512c 1d1412 fdeedd e6b64c 4f86c6 32201a f0703f",
    "emerald": "1e8f5a 6cc04a 0d1a12 f2f5d0 f4cf3a 1bb5a0 13241a 4affb0",
    "lilac": "8a78c8 b9a7e6 2a2140 f7f0ff f29cb7 6a8fd8 3b2f57 b79cff",
    "umber": "7a5535 a5794c 33211a f2e3c6 dd8b3a 5b3a29 46301f d0a06a",
    "lagoon": "239a98 77d2c4 10262c f1fbf4 f7b267 157a8c 1b3a42 7ff5e6",
    "rose": "d4667f f2b0b8 2c1219 fff0ee f6d06b 9b3a5a 451c2a ffb0c8",
    "ember": "2a1c1e 4a2b2b 0c0809 fff4d0 d7263d f2c14e 1d1214 6a5aa8",
    "ivory": "f3e2a2 fcf1ca 1f1b1a fffbe8 d94f30 3f78c0 352c26 fff0b0",
    "slate": "6f7c8a a9b4bd 22272e f4f6f6 e8a33d c0532f 3a424c b8d4f0",
    "moss": "7f8a3a b3b765 262a14 f6f3d3 d9713c 4f7a4a 3d4420 d0e070",
    "copper": "b6552a e08a4a 2a1610 ffe9cf 8a3a7a f3b95f 4a2416 ff8ad0",
    "indigo": "2c2f6b 4a4f9c 12122b f4ecd2 f2b632 7fb2e0 1c1d45 6a7aff",
}


def palette(seed: int, owner: int) -> Floats:
    """Return colours by role [8, 3]: those of a family, each shifted a little for a lineage of species."""
    source = stream(seed, "palette", owner)
    family = list(FAMILIES.values())[source.integers(len(FAMILIES))]
    colours = np.stack([colour(text) for text in family.split()])
    # The shifts are much smaller than the distance between families, so colour alone does not identify a species.
    return np.asarray(np.clip(colours + source.normal(0, 0.018, colours.shape), 0, 1), np.float32)
