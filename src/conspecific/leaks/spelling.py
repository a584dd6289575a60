"""One species under two spellings."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

LONG = 10  # letters of a word from which on two edits may be a slip of the pen
SHORT = 4  # letters of a word below which one edit makes another word too often


@dataclass(frozen=True, slots=True)
class SpellingMatch:
    """Two names that are one (`certain`), or seem to be but for a letter or two."""

    name: str
    other: str
    certain: bool


def same_species(names_a: Iterable[str], names_b: Iterable[str]) -> list[SpellingMatch]:
    """Return every name of one list with the names of the other that mean the same species, sorted.

    Certain: equal once capitals, punctuation, spaces, accents, a leading class number and a plural s are taken away.
    Likely: as many words, of which those that differ begin with the same letter, have four letters or more and are one
    edit apart, or two in words of ten letters; two letters exchanged are one edit. Never where a number differs.
    A name that is in both lists is no other spelling. The time grows with the number of names, not with its square.

    >>> found = same_species(["001.Grey_Catbird", "Black_Tern"], ["Gray Catbird", "black-terns", "Arctic_Tern"])
    >>> [(match.other, match.certain) for match in found]
    [('Gray Catbird', False), ('black-terns', True)]
    """
    ours, theirs = sorted(set(names_a)), sorted(set(names_b))
    known: dict[str, list[str]] = defaultdict(list)
    for other in theirs:
        for short in _shortened("".join(_words(other))):
            known[short].append(other)
    found = []
    for name in ours:
        near = {other for short in _shortened("".join(_words(name))) for other in known.get(short, ())}
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
    """Whether one word may be meant where the other is written."""
    if word == other:
        return True
    shorter = min(len(word), len(other))
    if shorter < SHORT or word[0] != other[0] or re.findall(r"\d+", word) != re.findall(r"\d+", other):
        return False
    return _edits(word, other) <= (2 if shorter >= LONG else 1)


def _words(name: str) -> list[str]:
    """A name's words without what does not count: `001.Brünnich's_Guillemots` has brunnichs and guillemot."""
    plain = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", name)).casefold()
    # 001.Name and 001_Name are numbered classes; 7_spot_ladybird is a species
    without_number = re.sub(r"^\s*(\d+\s*\.|\d{3,}[\s_-])(?=.*[^\W\d_])", "", unicodedata.normalize("NFC", plain))
    words = re.findall(r"[^\W_]+", without_number.replace("'", "").replace("\u2019", "")) or [plain]
    # terns are tern; Larus loses its s too, which makes it no other species, and albatross keeps both
    if len(words[-1]) > SHORT and words[-1].endswith("s") and not words[-1].endswith("ss"):
        words[-1] = words[-1][:-1]
    return words


def _shortened(word: str) -> Iterator[str]:
    """The word without any two letters or fewer: words that are two edits apart have one of these in common."""
    for count in range(3):
        for places in combinations(range(len(word)), count):
            yield "".join(letter for place, letter in enumerate(word) if place not in places)


def _edits(word: str, other: str) -> int:
    """How many letters to insert, leave out, replace or exchange with the next (optimal string alignment)."""
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
