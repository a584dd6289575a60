"""Species names as a table writes them, made comparable: one species has one name."""

import re
import unicodedata
from collections import defaultdict

import polars as pl

from conspecific.errors import name_some

NUMBER = re.compile(r"([+-]?\d+)(?:\.0+)?")


def label_text(labels: pl.Series) -> pl.Series:
    """Return labels as text: NaN is missing, and a whole number has no decimals whatever its type.

    Raises polars' InvalidOperationError or ComputeError for values that are not text or numbers.
    """
    if not labels.dtype.is_float():
        return labels.cast(pl.String)
    whole = labels.cast(pl.Int64, strict=False)
    text = pl.when(whole == labels).then(whole.cast(pl.String)).otherwise(labels.cast(pl.String))
    return pl.select(pl.when(labels.is_not_nan()).then(text).alias(labels.name)).to_series()


def one_spelling(labels: pl.Series) -> tuple[pl.Series, tuple[str, ...]]:
    """Return labels with one spelling per species, and a note if that changed any.

    Blanks at the ends and repeated blanks are removed, and letters are composed (Unicode NFC). Names that then differ
    only in case get the most frequent spelling, and 3.0 becomes 3 where there is a 3. Names of a single letter keep
    their case: letters can be classes.
    """
    counts = dict(labels.drop_nulls().value_counts().iter_rows())
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        groups[_key(label)].append(label)
    renamed: dict[str, str] = {}
    for key, group in groups.items():
        uses: defaultdict[str, int] = defaultdict(int)
        for label in group:
            uses[tidy(label)] += counts[label]
        chosen = key if key in uses and NUMBER.fullmatch(key) else max(uses, key=uses.__getitem__)
        renamed |= {label: chosen for label in group if label != chosen}
    if not renamed:
        return labels, ()
    shown = [f"{label!r} as {chosen!r}" for label, chosen in renamed.items()]
    note = f"Species names that differ only in how they are written are read as one: {name_some(shown)}."
    return labels.replace(renamed), (note,)


def tidy(label: str) -> str:
    """Return a label without blanks at its ends and repeated ones, its letters composed (Unicode NFC)."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def _key(label: str) -> str:
    """Return what the spellings of one species share."""
    written = tidy(label)
    if number := NUMBER.fullmatch(written):
        return number[1]
    return written.casefold() if len(written) > 1 else written
