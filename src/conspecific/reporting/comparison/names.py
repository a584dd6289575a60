"""Names of groups by what differs between them: arcface and triplet, in place of letters."""

from collections.abc import Mapping, Sequence
from typing import Any

from conspecific.reporting.comparison.settings import written
from conspecific.runs.groups import Comparison

MOST, LONGEST = 3, 32  # settings in a name, characters of a name
_FIRST = ("loss.loss._target_", "model.backbone")  # what people call a run by


def group_names(found: Comparison) -> dict[str, str]:
    """Return letter -> name, no two equal. A reference is called that, what is compared with it by the word trained.

    A name is made of the fewest settings that tell all groups apart, at most three, and of the letter besides where
    these do not suffice.
    """
    letters = [group.letter for group in found.groups]
    if found.groups[0].name:
        return dict(zip(letters, ("reference", "trained"), strict=True))
    columns = {key: _values(key, values) for key, values in found.settings.items()}
    order = sorted(columns, key=lambda key: (key not in _FIRST, -len(set(columns[key]))))
    chosen: list[str] = []
    while order and len(chosen) < MOST and _distinct(chosen, columns) < len(letters):
        chosen.append(max(order, key=lambda key: _distinct([*chosen, key], columns)))
        order.remove(chosen[-1])
    names = [", ".join(parts) for parts in zip(*(columns[key] for key in chosen), strict=True)] or [""] * len(letters)
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    clear = len(set(short)) == len(letters)
    return {letter: name if clear else f"{letter} {name}".rstrip() for letter, name in zip(letters, short, strict=True)}


def _distinct(keys: Sequence[str], columns: Mapping[str, Sequence[str]]) -> int:
    """Return how many groups the values of these settings tell apart."""
    return len(set(zip(*(columns[key] for key in keys), strict=True))) if keys else 0


def _values(key: str, values: Sequence[Any]) -> list[str]:
    """Return the values of a setting as parts of a name: a class without the words that each has, a number with its
    key."""
    texts = ["null" if value is None else text for value, text in zip(values, written(values), strict=True)]
    last = key.rpartition(".")[2]
    if last == "_target_":
        plain = [text.removesuffix("Loss").removesuffix("Margin").lower() for text in texts]
        return plain if len(set(plain)) == len(set(texts)) else texts
    is_word = all(isinstance(value, str) for value in values)
    return texts if is_word else [f"{last} {text}" for text in texts]
