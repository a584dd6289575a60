"""Invented Latin-like names: siblings share a genus, and each species has its own name."""

from __future__ import annotations

from .arrays import stream
from .species import lineage, sibling_rank

GENUS_STARTS = [
    "Aurimel",
    "Belis",
    "Calyr",
    "Cyrand",
    "Delmar",
    "Elyth",
    "Ferimel",
    "Galan",
    "Halcy",
    "Idyl",
    "Isaur",
    "Kalem",
    "Lumin",
    "Lysarg",
    "Marav",
    "Melior",
    "Mirab",
    "Nerival",
    "Ophirel",
    "Orsil",
    "Pavorel",
    "Quill",
    "Rosmar",
    "Seren",
    "Solinth",
    "Sylver",
    "Talim",
    "Thalmir",
    "Umbrel",
    "Valdor",
    "Vespiral",
    "Xanther",
    "Yllar",
    "Zephyr",
]
GENUS_ENDS = ["ia", "ina", "andra", "ione", "issa", "oria", "ella", "antha", "ope", "idea", "ura", "une"]
EPITHET_STARTS = [
    "alb",
    "amoen",
    "arden",
    "auror",
    "boreal",
    "cael",
    "candid",
    "castal",
    "cinnab",
    "dulc",
    "faust",
    "flor",
    "fulg",
    "glac",
    "hesper",
    "imber",
    "jocund",
    "lacrim",
    "lucid",
    "lunul",
    "meridi",
    "mont",
    "nebul",
    "niv",
    "noctil",
    "oriol",
    "pluvi",
    "regal",
    "rivul",
    "serot",
    "silvic",
    "somni",
    "stell",
    "tempest",
    "umbr",
    "ventos",
    "vernal",
]
EPITHET_ENDS = ["ana", "ata", "escens", "ifera", "ina", "ora", "osa", "ula"]


def species_names(seed: int, species: int) -> list[str]:
    """Return the names `Genus_epithet` of the first `species` species; more species do not change earlier names."""
    genera = [start + end for start in GENUS_STARTS for end in GENUS_ENDS]
    epithets = [start + end for start in EPITHET_STARTS for end in EPITHET_ENDS]
    order = stream(seed, "genera").permutation(len(genera))
    names = []
    for number in range(species):
        # When the genera run out, each gets further lineages, whose epithets start ten later.
        used, place = divmod(lineage(number), len(genera))
        own = stream(seed, "epithets", place).permutation(len(epithets))
        rank = 10 * used + sibling_rank(number)
        if rank >= len(epithets):
            raise ValueError(f"there are names for {number} species, needed {species}: ask for fewer species")
        names.append(f"{genera[order[place]]}_{epithets[own[rank]]}")
    return names
