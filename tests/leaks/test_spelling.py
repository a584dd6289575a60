"""One species under two spellings is seen, two species are left two."""

import time

import numpy as np
import pytest

from conspecific.data.butterflies.names import species_names
from conspecific.leaks.spelling import SpellingMatch, same_species


def verdict(name: str, other: str) -> bool | None:
    """True certain, False likely, None no match; the same in both directions."""
    found, back = same_species([name], [other]), same_species([other], [name])
    assert [match.certain for match in found] == [match.certain for match in back]
    return found[0].certain if found else None


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Black_Tern", "black tern"),
        ("Black_Tern", "BlackTern"),
        ("Black_Tern", "Black-Terns"),
        ("001.Black_Tern", "Black_Tern"),
        ("001.Black_Tern", "064.Black_Tern"),
        ("014_Black_Tern", "Black_Tern"),
        ("Whip_poor_Will", "Whip-poor-will"),
        ("Brünnich's_Guillemot", "Brunnichs Guillemot"),
        ("Brünnich's_Guillemot", "Brünnich\u2019s Guillemot"),
        ("Larus_argentatus", "larus argentatus "),
    ],
)
def test_equal_but_for_the_way_of_writing_is_certain(name: str, other: str) -> None:
    assert verdict(name, other) is True


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Grey", "Gray"),
        ("Gray_Catbird", "Grey_Catbird"),
        ("House_Sparrow", "House_Sparow"),
        ("House_Sparrow", "House_Sparorw"),
        ("Black_throated_Sparrow", "Black_throatted_Sparrow"),
        ("Passer_montanus", "Passer_montanas"),
        ("Troglodytes_hiemalis", "Trogloditis_hiemalis"),
    ],
)
def test_a_slip_of_the_pen_is_likely(name: str, other: str) -> None:
    assert verdict(name, other) is False


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Species_A", "Species_B"),
        ("sp1", "sp2"),
        ("species1", "species2"),
        ("morphotype12", "morphotype13"),
        ("Black_Tern", "Arctic_Tern"),
        ("Black_Tern", "Black_Fern"),
        ("2_spot_ladybird", "7_spot_ladybird"),
        ("2_spot_ladybird", "7 spot ladybird"),
        ("001", "002"),
        ("12.5", "13.5"),
        ("Parus_major", "Parus_minor"),
        ("Cat", "Bat"),
        ("Red_Knot", "Rod_Knot"),
        ("Tern", "Tern"),
        ("か", "が"),
    ],
)
def test_other_species_are_others(name: str, other: str) -> None:
    assert verdict(name, other) is None


@pytest.mark.parametrize("seed", range(4))
def test_invented_butterflies_are_all_different(seed: int) -> None:
    names = species_names(seed, 100)
    assert same_species(names, names) == []


def test_one_misspelt_among_many_is_found() -> None:
    names = species_names(0, 100)
    rng = np.random.default_rng(0)
    for name in names[::10]:
        place = int(rng.integers(1, len(name.partition("_")[0])))
        misspelt = name[:place] + name[place + 1 :]
        assert [match.name for match in same_species(names, [misspelt])] == [name]


def test_numbered_names_are_compared_in_linear_time() -> None:
    names = [f"bicycle {number:05}" for number in range(1500)]  # all of them two edits from hundreds of others
    began = time.perf_counter()
    assert same_species(names, names) == []
    assert time.perf_counter() - began < 5
    assert [match.other for match in same_species(["bicycel 00012"], names)] == ["bicycle 00012"]


def test_matches_are_sorted_and_name_every_partner() -> None:
    found = same_species(["b_tern", "a_grebe"], ["B_Tern", "b tern", "A.Grebe", "owl"])
    assert found == [
        SpellingMatch("a_grebe", "A.Grebe", True),
        SpellingMatch("b_tern", "B_Tern", True),
        SpellingMatch("b_tern", "b tern", True),
    ]
