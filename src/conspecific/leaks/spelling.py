"""One species under two names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

LONG = 10  # letters from which a word may have two typing errors
SHORT = 4  # letters below which one edit often makes another word


@dataclass(frozen=True, slots=True)
class SpellingMatch:
    """Two names of one species: certainly, or likely because they differ in a letter or two."""

    name: str
    other: str
    certain: bool


def same_species(names_a: Iterable[str], names_b: Iterable[str]) -> list[SpellingMatch]:
    """Return the pairs of names, one from each list, that mean the same species, sorted.

    Certain: equal after removal of case, punctuation, spaces, accents, a leading class number and a plural s.
    Likely: the same number of words, and words that differ begin with the same letter, have four letters or more and
    are one edit apart, or two edits in words of ten letters; swapping two letters is one edit. Never if a number
    differs. A name that is in both lists is not a second spelling. Time grows linearly with the number of names.

    >>> found = same_species(["001.Grey_Catbird", "Black_Tern"], ["Gray Catbird", "black-terns", "Arctic_Tern"])
    >>> [(match.other, match.certain) for match in found]
    [('Gray Catbird', False), ('black-terns', True)]
    """
    ours, theirs = sorted(set(names_a)), sorted(set(names_b))
    known: dict[tuple[str, str], list[str]] = defaultdict(list)
    for other in theirs:
        for key in _keys(other):
            known[key].append(other)
    found = []
    for name in ours:
        near = {other for key in _keys(name) for other in known.get(key, ())}
        found += [match for other in sorted(near - {name}) if (match := _match(name, other)) is not None]
    return found


def _match(name: str, other: str) -> SpellingMatch | None:
    ours, theirs = _words(name), _words(other)
    if "".join(ours) == "".join(theirs):
        return SpellingMatch(name, other, certain=True)
    if len(ours) == len(theirs) and all(map(_slipped, ours, theirs)) and _edits("".join(ours), "".join(theirs)) <= 2:
        return SpellingMatch(name, other, certain=False)
    return None


def _slipped(word: str, other: str) -> bool:
    """Return whether one word may be a typing error of the other."""
    if word == other:
        return True
    shorter = min(len(word), len(other))
    if shorter < SHORT or word[0] != other[0] or re.findall(r"\d+", word) != re.findall(r"\d+", other):
        return False
    return _edits(word, other) <= (2 if shorter >= LONG else 1)


def _words(name: str) -> list[str]:
    """Return the words to compare of a name: `001.Brünnich's_Guillemots` gives brunnichs and guillemot."""
    plain = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", name)).casefold()
    # 001.Name and 001_Name are numbered classes; 7_spot_ladybird is a species
    without_number = re.sub(r"^\s*(\d+\s*\.|\d{3,}[\s_-])(?=.*[^\W\d_])", "", unicodedata.normalize("NFC", plain))
    words = re.findall(r"[^\W_]+", without_number.replace("'", "").replace("\u2019", "")) or [plain]
    # terns becomes tern; Larus loses its s too, which is harmless, because both sides do; albatross keeps its two
    if len(words[-1]) > SHORT and words[-1].endswith("s") and not words[-1].endswith("ss"):
        words[-1] = words[-1][:-1]
    return words


def _keys(name: str) -> Iterator[tuple[str, str]]:
    """Yield keys of which matching names share one: the digits, which must be equal, with the shortened letters."""
    text = "".join(_words(name))
    digits, letters = re.sub(r"\D", "", text), re.sub(r"\d", "", text)
    for short in _shortened(letters):
        yield digits, short


def _shortened(word: str) -> Iterator[str]:
    """Yield the word with up to two letters removed: words two edits apart have one of these in common."""
    for count in range(3):
        for places in combinations(range(len(word)), count):
            yield "".join(letter for place, letter in enumerate(word) if place not in places)


def _edits(word: str, other: str) -> int:
    """Count the letters to insert, delete, replace or swap with the next one (optimal string alignment distance)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        earlier, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == wanted:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]
